"""Write the files that `kdtool.data.reader` reads: pixels of each split, list of samples, data.json."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from kdtool.core.files import durable, sha256_bytes, sha256_json, write_json, write_text
from kdtool.core.preprocess import Preprocess, UInt8Array
from kdtool.data.channels import Sums, channel_statistics, channel_sums
from kdtool.data.listing import SPLITS
from kdtool.data.pixels.photographs import Photographs
from kdtool.data.reader import COLUMNS, DATA_FILE, SAMPLES_FILE, SCHEMA, TRAIN, pixels_file
from kdtool.data.scan import Scan
from kdtool.machine.parallel import ordered_map

Rows = Mapping[str, Sequence[int]]  # split → indices into `Scan.photos`


class Pixels:
    """Collects the hash and the channel sums of each image of a scan, in the order of `Scan.photos`.

    Attributes:
        stream: file that also receives the pixels, since the split of an image is known only after the scan.
            None stores no pixels; the images that are written are then decoded a second time.
    """

    def __init__(self, stream: BinaryIO | None, preprocess: Preprocess) -> None:
        self.stream, self._preprocess = stream, preprocess
        self.hashes: list[str] = []
        self.sums: list[Sums] = []

    def add(self, image: UInt8Array) -> None:
        """Add the next image, (size, size, 3)."""
        content = image.tobytes()
        self.hashes.append(sha256_bytes(content))
        self.sums.append(channel_sums(image))
        if self.stream:
            self.stream.write(content)

    def images(self, scanned: Scan, rows: Sequence[int]) -> Iterator[UInt8Array]:
        """Give the images of `rows`, with few in memory at a time."""
        return self._read(self.stream, rows) if self.stream else self._decode(scanned, rows)

    def _read(self, stream: BinaryIO, rows: Sequence[int]) -> Iterator[UInt8Array]:
        shape = (self._preprocess.size, self._preprocess.size, 3)
        length = int(np.prod(shape))
        for row in rows:
            stream.seek(row * length)
            yield np.frombuffer(stream.read(length), np.uint8).reshape(shape)

    def _decode(self, scanned: Scan, rows: Sequence[int]) -> Iterator[UInt8Array]:
        photos = [scanned.photos[row] for row in rows]
        paths, hashes = [photo.sample.path for photo in photos], [photo.sha256 for photo in photos]
        files = Photographs(paths, hashes, [photo.sample.read for photo in photos], self._preprocess)
        return ordered_map(files.decoded, range(len(rows)))


def write_prepared(
    folder: Path, scanned: Scan, pixels: Pixels, preprocess: Preprocess, photographs: str
) -> list[str]:
    """Write the files of prepared data to `folder`; return their names.

    Args:
        preprocess: resize and crop; this function adds mean and std of the training set.
        photographs: source of the photographs, if each epoch decodes the training images, whose pixels are
            then not written. Otherwise empty.

    Raises:
        DataError: a photograph changed since the scan.
        SetupError: the files cannot be written.
    """
    rows = {name: [row for row, split in enumerate(scanned.splits) if split == name] for name in SPLITS}
    written = [name for name in SPLITS if name != TRAIN or not photographs]
    for name in written:
        images = pixels.images(scanned, rows[name])
        _write_pixels(folder / pixels_file(name), images, len(rows[name]), preprocess.size)
    if photographs:
        (folder / pixels_file(TRAIN)).unlink(missing_ok=True)
    mean, std = channel_statistics(pixels.sums[row] for row in rows[TRAIN])
    write_text(folder / SAMPLES_FILE, _samples_csv(scanned, rows))
    record = _record(scanned, rows, replace(preprocess, mean=mean, std=std), pixels.hashes, photographs)
    write_json(folder / DATA_FILE, record)
    return [DATA_FILE, SAMPLES_FILE, *map(pixels_file, written)]


def _write_pixels(path: Path, images: Iterable[UInt8Array], count: int, size: int) -> None:
    """Write a .npy file of (count, size, size, 3) uint8, one image after the other."""
    header = {"descr": "|u1", "fortran_order": False, "shape": (count, size, size, 3)}
    with durable(path) as partial, partial.open("wb") as target:
        np.lib.format.write_array_header_1_0(target, header)
        for image in images:
            target.write(image.tobytes())


def _samples_csv(scanned: Scan, rows: Rows) -> str:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    writer.writerow(COLUMNS)
    for name, members in rows.items():
        for index, row in enumerate(members):
            photo = scanned.photos[row]
            writer.writerow((name, index, photo.sample.path, photo.sample.label, photo.sha256))
    return stream.getvalue()


def _record(
    scanned: Scan, rows: Rows, preprocess: Preprocess, hashes: Sequence[str], photographs: str
) -> dict[str, Any]:
    classes = scanned.listing.classes
    position = {label: index for index, label in enumerate(classes)}
    common = {"classes": list(classes), "preprocess": preprocess.to_json()}
    identity = common | {
        "pixels": {name: [hashes[row] for row in members] for name, members in rows.items()},
        "labels": {
            name: [position[scanned.photos[row].sample.label] for row in members]
            for name, members in rows.items()
        },
    }
    return {
        "schema": SCHEMA,
        "source": scanned.listing.source,
        **common,
        "digest": sha256_json(identity),
        "photographs": photographs,
        "counts": {name: len(members) for name, members in rows.items()},
        "left_out": [
            {"path": bad.sample.path, "sha256": bad.sha256, "reason": bad.reason}
            for bad in scanned.unreadable
        ],
        "ignored": dict(scanned.listing.ignored),
        "warnings": dict(Counter(finding.kind for finding in scanned.findings if not finding.fatal)),
    }
