"""Read what `prepare` wrote: memory maps of uint8 pixels, or the photographs where it kept no pixels.

Without torch.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kdtool.core.errors import DataError
from kdtool.core.preprocess import Preprocess, UInt8Array
from kdtool.data.photographs import Images, open_photographs
from kdtool.runs.stage import intact, read_manifest

STAGE = "prepare"
SCHEMA = 1
DATA_FILE = "data.json"
SAMPLES_FILE = "samples.csv"
TRAIN = "train"  # the split that is large; training and calibration read it
COLUMNS = ("split", "index", "path", "label", "sha256")


@dataclass(frozen=True)
class Split:
    """One split, opened.

    Attributes:
        images: (N, S, S, 3) uint8: a read-only memory map, an array in memory, or photographs that are
            decoded when asked for.
        labels: (N,) int64, indices into `Prepared.classes`.
        paths: as the user knows them, relative to the source.
        hashes: SHA-256 of the encoded bytes.
    """

    name: str
    images: Images
    labels: npt.NDArray[np.int64]
    paths: tuple[str, ...]
    hashes: tuple[str, ...]


@dataclass(frozen=True)
class Prepared:
    """Photographs decoded, resized and cropped once.

    Attributes:
        classes: their order is that of the logits.
        preprocess: with mean and std of the training set.
        digest: changes if and only if pixels, labels, classes, preprocess or the split change.
        counts: split → number of images.
        photographs: where those of train are, if they were not kept decoded; else empty.
        in_memory: whether train is read into memory when it is opened.
    """

    folder: Path
    classes: tuple[str, ...]
    preprocess: Preprocess
    digest: str
    counts: Mapping[str, int]
    photographs: str = ""
    in_memory: bool = False
    _opened: dict[str, Split] = field(default_factory=dict, init=False, compare=False, repr=False)

    def at(self, source: str) -> Prepared:
        """A copy whose photographs are at `source`. No effect if the pixels were kept."""
        return replace(self, photographs=source) if self.photographs else self

    def split(self, name: str) -> Split:
        """Open "train", "validation" or "test", once; the last is for bench alone.

        Raises:
            DataError: no such split, or its photographs are no longer there.
        """
        if name not in self.counts:
            raise DataError(
                f"{self.folder}: no split {name!r}; allowed is one of {', '.join(self.counts)}.",
                "Ask for one of these, or make the data again by running the training command.",
            )
        if name not in self._opened:
            self._opened[name] = self._open(name)
        return self._opened[name]

    def _open(self, name: str) -> Split:
        with (self.folder / SAMPLES_FILE).open(encoding="utf-8", newline="") as stream:
            rows = [row for row in csv.DictReader(stream) if row["split"] == name]
        position = {label: index for index, label in enumerate(self.classes)}
        paths, hashes = (tuple(row[column] for row in rows) for column in ("path", "sha256"))
        labels = np.array([position[row["label"]] for row in rows], dtype=np.int64)
        return Split(name, self._images(name, paths, hashes), labels, paths, hashes)

    def _images(self, name: str, paths: Sequence[str], hashes: Sequence[str]) -> Images:
        if name == TRAIN and self.photographs:
            return open_photographs(self.photographs, paths, hashes, self.preprocess)
        images: UInt8Array = np.load(self.folder / pixels_file(name), mmap_mode="r", allow_pickle=False)
        return np.array(images) if name == TRAIN and self.in_memory else images


def pixels_file(split: str) -> str:
    """The name of the file with the pixels of a split."""
    return f"{split}.npy"


def open_prepared(folder: Path) -> Prepared:
    """The prepared data in `folder`, every file verified against its hash.

    Raises:
        DataError: not there, half-written or damaged.
    """
    manifest = read_manifest(folder / "manifest.json")
    if manifest is None or manifest.stage != STAGE:
        raise DataError(
            f"{folder}: no complete prepared data here (no valid manifest.json).",
            "Make it by running the training command again.",
        )
    if not intact(folder, manifest):
        raise DataError(
            f"{folder}: the prepared data is damaged (a file differs from its hash).",
            "Rebuild it by running the training command again.",
        )
    return read_prepared(folder)


def read_prepared(folder: Path) -> Prepared:
    """Read the prepared data in `folder` without verifying it, as just after `prepare`.

    Raises:
        DataError: data.json was not written by this version of kdtool.
    """
    path = folder / DATA_FILE
    try:
        content: dict[str, Any] = json.loads(path.read_text("utf-8"))
        if content["schema"] != SCHEMA:
            raise ValueError("written by another version of kdtool")
        return Prepared(
            folder=folder,
            classes=tuple(content["classes"]),
            preprocess=Preprocess.from_json(content["preprocess"]),
            digest=str(content["digest"]),
            counts=dict(content["counts"]),
            photographs=str(content.get("photographs", "")),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} cannot be read ({error}).", "Rebuild it by running the training command again."
        ) from error
