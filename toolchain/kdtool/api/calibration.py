"""Which of the caller's images calibrate an INT8 model, and which measure its accuracy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kdtool.api.images import AnyImage, listed, stacked
from kdtool.benchmark.loose import decode_samples, labels_of
from kdtool.core.errors import UsageError
from kdtool.core.modelinfo import ModelInfo
from kdtool.core.preprocess import UInt8Array
from kdtool.core.screen import Screen
from kdtool.data.listing import Sample
from kdtool.data.reader import Split
from kdtool.data.sources import load_listing
from kdtool.quant.images import calibration_indices

Labels = npt.NDArray[np.int64]
Parts = tuple[UInt8Array, Labels, Split | None]  # images, the numbers of those that calibrate, validation
SEED = 0


def parts_of(
    images: str | Path | Iterable[AnyImage],
    labels: Sequence[str | int] | None,
    info: ModelInfo,
    count: int,
    screen: Screen,
) -> Parts:
    """`count` images, or fewer, that calibrate, and others with labels that measure the accuracy.

    Raises:
        UsageError: labels do not fit the images or the classes.
        DataError: images that cannot be read, or of a class that the model does not know.
    """
    if isinstance(images, str | Path):
        listing = load_listing(str(images))
        if listing.samples:
            if labels is not None:
                raise UsageError("labels: the photographs' are the names of their folders; allowed: none.")
            return _of_samples(listing.samples, "validation" not in listing.carve, info, count, screen)
    found = listed(images)
    if labels is None:
        wanted = np.linspace(0, len(found) - 1, min(count, len(found))).round().astype(np.int64)
        return stacked([found[index] for index in wanted], info.preprocess), np.arange(len(wanted)), None
    return _halves(stacked(found, info.preprocess), _numbers(labels, len(found), info), count)


def _of_samples(samples: Sequence[Sample], split: bool, info: ModelInfo, count: int, screen: Screen) -> Parts:
    """Of a source with splits, train calibrates and validation measures."""
    train = [sample for sample in samples if sample.split == "train"]
    held = [sample for sample in samples if sample.split == "validation"]
    labels = labels_of(train, info, Path(info.arch))
    if not split:
        return _halves(decode_samples(train, info.preprocess, screen), labels, count)
    chosen = calibration_indices(labels, count, SEED)
    pixels = decode_samples([train[index] for index in chosen], info.preprocess, screen)
    answers = labels_of(held, info, Path(info.arch))
    return pixels, np.arange(len(pixels)), _split(decode_samples(held, info.preprocess, screen), answers)


def _halves(pixels: UInt8Array, labels: Labels, count: int) -> Parts:
    chosen = calibration_indices(labels, min(count, len(labels) // 2), SEED)
    others = np.setdiff1d(np.arange(len(labels)), chosen)
    return pixels, chosen, _split(pixels[others], labels[others])


def _split(pixels: UInt8Array, labels: Labels) -> Split:
    return Split("validation", pixels, labels, (), ())


def _numbers(labels: Sequence[str | int], images: int, info: ModelInfo) -> Labels:
    """Labels as class indices."""
    position: dict[object, int] = {name: index for index, name in enumerate(info.classes)}
    position |= {index: index for index in range(len(info.classes))}
    given = [label if isinstance(label, str) else int(label) for label in labels]
    unknown = sorted({str(label) for label in given if label not in position})
    if unknown or len(given) != images:
        raise UsageError(
            f"labels: {len(given)} for {images} images"
            + (f", of which the model does not know {', '.join(unknown)}" if unknown else "")
            + f"; allowed: one for each image, of {', '.join(info.classes)}, or their numbers from 0.",
        )
    return np.array([position[label] for label in given], np.int64)
