"""Reading what `prepare` left: memory maps of uint8 pixels, nothing decoded again. Knows no torch."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kdtool.core.errors import DataError
from kdtool.core.manifest import intact, read_manifest
from kdtool.core.preprocess import Preprocess, UInt8Array

STAGE = "prepare"
SCHEMA = 1
DATA_FILE = "data.json"
SAMPLES_FILE = "samples.csv"
COLUMNS = ("split", "index", "path", "label", "sha256")


@dataclass(frozen=True)
class Split:
    """One split, opened.

    Attributes:
        images: (N, S, S, 3) uint8, a read-only memory map.
        labels: (N,) int64, indices into `Prepared.classes`.
        paths: as the user knows them, relative to the source.
        hashes: SHA-256 of the encoded bytes.
    """

    name: str
    images: UInt8Array
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
    """

    folder: Path
    classes: tuple[str, ...]
    preprocess: Preprocess
    digest: str
    counts: Mapping[str, int]

    def split(self, name: str) -> Split:
        """Open "train", "validation" or "test"; the last is for bench alone.

        Raises:
            DataError: no such split.
        """
        if name not in self.counts:
            raise DataError(
                f"{self.folder}: no split {name!r}; allowed is one of {', '.join(self.counts)}.",
                "Ask for one of these, or make the data again by running the training command.",
            )
        with (self.folder / SAMPLES_FILE).open(encoding="utf-8", newline="") as stream:
            rows = [row for row in csv.DictReader(stream) if row["split"] == name]
        position = {label: index for index, label in enumerate(self.classes)}
        return Split(
            name=name,
            images=np.load(self.folder / pixels_file(name), mmap_mode="r", allow_pickle=False),
            labels=np.array([position[row["label"]] for row in rows], dtype=np.int64),
            paths=tuple(row["path"] for row in rows),
            hashes=tuple(row["sha256"] for row in rows),
        )


def pixels_file(split: str) -> str:
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
    """As `open_prepared`, for a folder that was verified just now.

    Raises:
        DataError: data.json is not one of ours.
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
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} cannot be read ({error}).", "Rebuild it by running the training command again."
        ) from error
