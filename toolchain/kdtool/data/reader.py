"""Read the data that `prepare` wrote: memory maps of uint8 pixels, or photographs if it stored no pixels.

This module does not need torch.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kdtool.core.errors import DataError
from kdtool.core.files import sha256_json
from kdtool.core.preprocess import Preprocess, UInt8Array
from kdtool.data.pixels.joined import join, joined_whole
from kdtool.data.pixels.photographs import Images, open_photographs
from kdtool.data.pixels.whole import Whole, open_whole
from kdtool.recipe.choices import Balance
from kdtool.runs.stage import intact, read_manifest

STAGE = "prepare"
SCHEMA = 1
DATA_FILE = "data.json"
SAMPLES_FILE = "samples.csv"
TRAIN = "train"  # the largest split; training and calibration read it
TEACHER_FOLDER = "teacher"  # in the folder of the prepared data
UNLABELLED = -1
COLUMNS = ("split", "index", "path", "label", "sha256")


@dataclass(frozen=True)
class Split:
    """One split, opened.

    Attributes:
        images: (N, S, S, 3) uint8: a read-only memory map, an array in memory, or photographs that are
            decoded when they are asked for.
        labels: (N,) int64, indices into `Prepared.classes`; `UNLABELLED` for an image without a label.
        paths: path of each photo file that the user knows, relative to the source.
        hashes: SHA-256 of the encoded bytes of each photo file.
        whole: the whole photographs, from which views are cut; None if there are none.
    """

    name: str
    images: Images
    labels: npt.NDArray[np.int64]
    paths: tuple[str, ...]
    hashes: tuple[str, ...]
    whole: Whole | None = None

    @cached_property
    def some_unlabelled(self) -> bool:
        """True if an image has no label."""
        return bool((self.labels == UNLABELLED).any())


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
        teacher: the same photographs at the size of the teacher; None if it has the size of the student.
        source: source of the photographs, if it is known.
        whole_folder: folder with the whole training photographs; None is `folder`.
        balance: remedy for classes of unequal size in training.
        unlabelled: photographs without labels, which the student trains on too; None without any.
    """

    folder: Path
    classes: tuple[str, ...]
    preprocess: Preprocess
    digest: str
    counts: Mapping[str, int]
    photographs: str = ""
    in_memory: bool = False
    teacher: Prepared | None = None
    source: str = field(default="", compare=False)
    whole_folder: Path | None = field(default=None, compare=False)
    balance: Balance = Balance.NONE
    unlabelled: Prepared | None = None
    _opened: dict[str, Split] = field(default_factory=dict, init=False, compare=False, repr=False)

    def at(self, source: str) -> Prepared:
        """Return a copy whose photographs are at `source`; this matters for pixels that are not stored."""
        teacher = self.teacher and self.teacher.at(source)
        photographs = source if self.photographs else ""
        return replace(self, photographs=photographs, source=source, teacher=teacher)

    @property
    def for_teacher(self) -> Prepared:
        """The photographs at the size of the teacher."""
        return self.teacher or self

    @property
    def for_student(self) -> Prepared:
        """The photographs that the student trains on: with those without labels, if there are any."""
        if self.unlabelled is None:
            return self
        more = self.unlabelled.counts[TRAIN]
        joined = replace(
            self,
            digest=sha256_json([self.digest, self.unlabelled.digest]),
            counts={**self.counts, TRAIN: self.counts[TRAIN] + more},
            teacher=self.teacher and self.teacher.for_student,
            unlabelled=None,
        )
        own, others = self.split(TRAIN), self.unlabelled.split(TRAIN)
        joined._opened.update(self._opened)
        joined._opened[TRAIN] = Split(
            TRAIN,
            join(own.images, others.images),
            np.concatenate([own.labels, np.full(more, UNLABELLED)]),
            own.paths + others.paths,
            own.hashes + others.hashes,
            own.whole and others.whole and joined_whole(own.whole, others.whole),
        )
        return joined

    def like(self, preprocess: Preprocess) -> Prepared | None:
        """The photographs at the size of a model; None if they were not prepared at this size."""
        either = (self, self.for_teacher)
        return next((data for data in either if data.preprocess.geometry == preprocess.geometry), None)

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

    def files(self, name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Paths and hashes of the photo files of a split."""
        rows = self._rows(name)
        return tuple(row["path"] for row in rows), tuple(row["sha256"] for row in rows)

    def _rows(self, name: str) -> list[dict[str, str]]:
        with (self.folder / SAMPLES_FILE).open(encoding="utf-8", newline="") as stream:
            return [row for row in csv.DictReader(stream) if row["split"] == name]

    def _open(self, name: str) -> Split:
        rows = self._rows(name)
        position = {label: index for index, label in enumerate(self.classes)}
        paths, hashes = self.files(name)
        labels = np.array([position[row["label"]] for row in rows], dtype=np.int64)
        whole = None
        if name == TRAIN:
            place = self.whole_folder or self.folder
            whole = open_whole(place, self.source, paths, hashes, self.in_memory)
        return Split(name, self._images(name, paths, hashes), labels, paths, hashes, whole)

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
    return with_teacher(read_prepared(folder))


def with_teacher(prepared: Prepared) -> Prepared:
    """Add the same photographs at the size of the teacher, if the folder has them.

    Raises:
        DataError: they are damaged.
    """
    folder = prepared.folder / TEACHER_FOLDER
    if not (folder / "manifest.json").is_file():
        return prepared
    samples = [(place / SAMPLES_FILE).read_bytes() for place in (prepared.folder, folder)]
    if samples[0] != samples[1]:
        return prepared  # of other photographs, which were prepared before
    teacher = replace(open_prepared(folder), whole_folder=prepared.folder, in_memory=prepared.in_memory)
    return replace(prepared, teacher=teacher)


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
