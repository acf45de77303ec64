"""Choose the images of a caller that calibrate an INT8 model and those that measure its accuracy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kdtool.api.images import AnyImage, listed, stacked
from kdtool.benchmark.loose import decode_samples, labels_of, seen_note
from kdtool.core.errors import UsageError
from kdtool.core.modelinfo import ModelInfo
from kdtool.core.preprocess import UInt8Array
from kdtool.core.screen import Screen
from kdtool.data.listing import Listing
from kdtool.data.reader import Split
from kdtool.data.sources import load_listing
from kdtool.quant.images import calibration_indices

Labels = npt.NDArray[np.int64]
SEED = 0


@dataclass(frozen=True)
class Parts:
    """Images for calibration and for accuracy.

    Attributes:
        pixels: (N, S, S, 3) uint8.
        chosen: indices of the calibration images in `pixels`.
        validation: other images with labels; None if there are no labels.
        notes: sentences that say why the accuracy is doubtful.
    """

    pixels: UInt8Array
    chosen: Labels
    validation: Split | None = None
    notes: tuple[str, ...] = ()


def parts_of(
    images: str | Path | Iterable[AnyImage],
    labels: Sequence[str | int] | None,
    model: Path,
    info: ModelInfo,
    count: int,
    screen: Screen,
) -> Parts:
    """Choose at most `count` images to calibrate on, and other images with labels to measure the accuracy on.

    Args:
        model: file of the model, for messages.
        info: classes and preprocessing of the model.

    Raises:
        UsageError: labels do not fit the images or the classes.
        DataError: an image cannot be read, or the model does not know its class.
    """
    if isinstance(images, str | Path):
        listing = load_listing(str(images), "images")
        if listing.samples:
            if labels is not None:
                raise UsageError(
                    "labels: the folders of the photographs are their classes already; allowed: none.",
                    "Leave out labels.",
                )
            return _of_samples(listing, model, info, count, screen)
    sequence = listed(images)
    if labels is None:
        chosen = np.linspace(0, len(sequence) - 1, min(count, len(sequence))).round().astype(np.int64)
        return Parts(stacked([sequence[index] for index in chosen], info.preprocess), np.arange(len(chosen)))
    return _halves(stacked(sequence, info.preprocess), _numbers(labels, len(sequence), info), count)


def _of_samples(listing: Listing, model: Path, info: ModelInfo, count: int, screen: Screen) -> Parts:
    """Take the calibration images from train and measure on validation, if there is such a split."""
    train = [sample for sample in listing.samples if sample.split == "train"]
    validation = [sample for sample in listing.samples if sample.split == "validation"]
    labels = labels_of(train, info, model)
    if "validation" in listing.carve:
        parts = _halves(decode_samples(train, info.preprocess, screen), labels, count)
        note = seen_note(listing.source, "validation", f"{len(train) - len(parts.chosen):,} of the")
        screen.warn(note)
        return replace(parts, notes=(note,))
    chosen = calibration_indices(labels, count, SEED)
    pixels = decode_samples([train[index] for index in chosen], info.preprocess, screen)
    validation_labels = labels_of(validation, info, model)
    validation_pixels = decode_samples(validation, info.preprocess, screen)
    return Parts(pixels, np.arange(len(pixels)), _split(validation_pixels, validation_labels))


def _halves(pixels: UInt8Array, labels: Labels, count: int) -> Parts:
    chosen = calibration_indices(labels, min(count, len(labels) // 2), SEED)
    others = np.setdiff1d(np.arange(len(labels)), chosen)
    return Parts(pixels, chosen, _split(pixels[others], labels[others]))


def _split(pixels: UInt8Array, labels: Labels) -> Split:
    return Split("validation", pixels, labels, (), ())


def _numbers(labels: Sequence[str | int], images: int, info: ModelInfo) -> Labels:
    """Convert labels, which are names or numbers of classes, to class indices."""
    position: dict[object, int] = {name: index for index, name in enumerate(info.classes)}
    position |= {index: index for index in range(len(info.classes))}
    plain = [label if isinstance(label, str) else int(label) for label in labels]
    unknown = sorted({str(label) for label in plain if label not in position})
    if unknown or len(plain) != images:
        raise UsageError(
            f"labels: {len(plain)} for {images} images"
            + (f", of which the model does not know {', '.join(unknown)}" if unknown else "")
            + f"; allowed: one for each image, of {', '.join(info.classes)}, or their numbers from 0.",
        )
    return np.array([position[label] for label in plain], np.int64)
