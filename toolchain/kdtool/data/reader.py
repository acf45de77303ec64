"""Read the data that `prepare` wrote: memory maps of uint8 pixels, or photographs if it stored no pixels.

This module does not need torch.
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
TRAIN = "train"  # the largest split; training and calibration read it
COLUMNS = ("split", "index", "path", "label", "sha256")


@dataclass(frozen=True)
class Split:
    """One split, opened.

    Attributes:
        images: (N, S, S, 3) uint8: a read-only memory map, an array in memory, or photographs that are
            decoded when they are asked for.
        labels: (N,) int64, indices into `Prepared.classes`.
        paths: path of each photo file that the user knows, relative to the source.
        hashes: SHA-256 of the encoded bytes of each photo file.
    """

    name: str
    images: Images
    labels: npt.NDArray[np.int64]
    paths: tuple[str, ...]
    hashes: tuple[str, ...]


@dataclass(frozen=True)
class Prepared:
    """Photographs that were decoded, resized and cropped once.

    Attributes:
        folder: the folder of the prepared files.
        classes: class names in the order of the logits.
        preprocess: preprocessing, with mean and std of the training set.
        digest: hash that changes if and only if pixels, labels, classes, preprocess or splits change.
        counts: split → number of images.
        photographs: source of the training photographs if their pixels are not stored; otherwise empty.
        in_memory: True if train is read into memory when it is opened.
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
        """Return a copy whose training photographs are at `source`; no effect if their pixels are stored."""
        return replace(self, photographs=source) if self.photographs else self

    def split(self, name: str) -> Split:
        """Open "train", "validation" or "test" once; "test" must never choose weights or settings.

        Raises:
            DataError: there is no such split, or its photographs are no longer there.
        """
        if name not in self.counts:
            raise DataError(
                f"{self.folder}: there is no split {name!r}; allowed is one of {', '.join(self.counts)}.",
                "Ask for one of these, or make the data again with the training command.",
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
    """Name the file with the pixels of a split."""
    return f"{split}.npy"


def open_prepared(folder: Path) -> Prepared:
    """Open the prepared data in `folder` and verify every file against its hash.

    Raises:
        DataError: the data is not there, half-written or damaged.
    """
    manifest = read_manifest(folder / "manifest.json")
    if manifest is None or manifest.stage != STAGE:
        raise DataError(
            f"{folder}: there is no complete prepared data here (no valid manifest.json).",
            "Run the training command again, which makes it.",
        )
    if not intact(folder, manifest):
        raise DataError(
            f"{folder}: the prepared data is damaged (a file differs from its hash).",
            "Run the training command again, which rebuilds it.",
        )
    return read_prepared(folder)


def read_prepared(folder: Path) -> Prepared:
    """Read the prepared data in `folder` without verification, for use just after `prepare`.

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
            f"{path} cannot be read ({error}).", "Run the training command again, which rebuilds it."
        ) from error
