"""The first stage: from photographs to `Prepared`.

    list → hash → (complete? done) → scan: decode once, resize, crop → split → write → manifest

Training pictures that are not to be kept, or would not fit on the disk, are not written:
`kdtool.data.photographs` decodes them when they are asked for. The digest is of the pixels all the
same, so what was trained stands.

The key is the content: the hash of each file's bytes with its path, class and split, the settings,
the decode rule's version and Pillow's. Modification times have no part in it.
"""

from __future__ import annotations

import contextlib
import csv
import io
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import __version__ as pillow_version

from kdtool.core.errors import DataError
from kdtool.core.files import (
    durable,
    remove_partial,
    scratch,
    sha256_bytes,
    sha256_json,
    write_json,
    write_text,
)
from kdtool.core.preprocess import DECODE_RULE, Preprocess, UInt8Array
from kdtool.core.screen import Screen
from kdtool.core.text import printable
from kdtool.data.channels import Sums, channel_statistics, channel_sums
from kdtool.data.examine import Photo, Unreadable
from kdtool.data.hashing import hash_samples
from kdtool.data.listing import SPLITS, Listing
from kdtool.data.notices import summary, tell, tell_change
from kdtool.data.photographs import Photographs
from kdtool.data.reader import (
    COLUMNS,
    DATA_FILE,
    SAMPLES_FILE,
    SCHEMA,
    STAGE,
    TRAIN,
    Prepared,
    pixels_file,
    read_prepared,
)
from kdtool.data.scan import Scan, preprocess_of, scan
from kdtool.data.sources import load_listing, resolve
from kdtool.machine.packages import required, versions_of
from kdtool.machine.parallel import ordered_map
from kdtool.recipe.settings import DataSettings
from kdtool.runs.stage import Stage

KEPT = ("memory", "disk")  # settings of cache with which training pixels are written
SHARE_OF_DISK = 0.8  # of what is free, that they may take where nobody says


def prepare(
    source: str | None, settings: DataSettings, seed: int, folder: Path, screen: Screen
) -> tuple[Prepared, bool]:
    """Scan the photographs of `source` and write them, decoded, resized and cropped, to `folder`.

    Args:
        source: DATA as given on the command line; None is the embedded digits.
        seed: of the splits that are carved; where the source has all of them it plays no part.

    Returns:
        The prepared data, and whether it was complete already.

    Raises:
        DataError: the scan's findings, all at once.
        UsageError, SetupError: as `kdtool.data.sources.load_listing` and `kdtool.core.files`.
    """
    listing = load_listing(source)
    hashes = hash_samples(listing.samples, screen)
    stage = Stage(STAGE, folder, stage_inputs(listing, hashes, settings, seed))
    standing = _standing(stage, folder)
    if standing and keeps_enough(standing, settings):
        screen.say(f"prepare: complete, skipped ({summary(standing)})")
        if settings.cache == "none" and not standing.photographs:
            screen.say(f"prepare: decoded training pictures are in {folder} from before, and are used.")
        return standing.at(resolve(source)), True
    tell_change(stage, screen)
    tell(listing, settings, screen)
    blank = preprocess_of(settings)
    with scratch(folder) as stream:
        kept = _decide(settings, len(listing.samples), folder, screen)
        written = [name for name in SPLITS if kept or name != TRAIN]
        pixels = Pixels(stream if kept else None, settings.size)
        found = scan(listing, settings, seed, screen, keep=pixels.add)
        found.require(screen)
        _require_unchanged(found, hashes)
        stage.reopen()
        remove_partial(folder)
        rows = {name: [row for row, split in enumerate(found.splits) if split == name] for name in SPLITS}
        for name in written:
            images = pixels.images(rows[name]) if kept else _again(found, rows[name], blank)
            _write_pixels(folder / pixels_file(name), images, len(rows[name]), settings.size)
    if not kept:
        (folder / pixels_file(TRAIN)).unlink(missing_ok=True)
    mean, std = channel_statistics(pixels.sums[row] for row in rows[TRAIN])
    preprocess = replace(blank, mean=mean, std=std)
    write_text(folder / SAMPLES_FILE, _samples_csv(found, rows))
    place = "" if kept else resolve(source)
    write_json(folder / DATA_FILE, _record(found, rows, preprocess, pixels.hashes, place))
    prepared = read_prepared(folder)
    stage.seal(
        [DATA_FILE, SAMPLES_FILE, *(pixels_file(name) for name in written)],
        {"digest": prepared.digest, "counts": dict(prepared.counts), "left_out": len(found.unreadable)},
        versions_of(required()),
    )
    screen.say(f"prepare: {summary(prepared)}")
    return prepared, False


def _standing(stage: Stage, folder: Path) -> Prepared | None:
    """What is complete, if this version of kdtool can read it."""
    with contextlib.suppress(DataError):
        return read_prepared(folder) if stage.complete() else None
    return None


def keeps_enough(prepared: Prepared, settings: DataSettings) -> bool:
    """Whether what stands has the pixels that `settings.cache` wants kept."""
    return not (prepared.photographs and settings.cache in KEPT)


def keeps_training_pixels(settings: DataSettings, count: int, free: int) -> bool:
    """Whether decoded training pictures are written, of `count` photographs, with `free` bytes of disk."""
    fits = _bytes_wanted(settings, count) <= SHARE_OF_DISK * free
    return fits if settings.cache == "auto" else settings.cache in KEPT


def _bytes_wanted(settings: DataSettings, count: int) -> int:
    """For a moment: once in the order of the source, once in that of the splits."""
    return 2 * count * settings.size**2 * 3


def _decide(settings: DataSettings, count: int, folder: Path, screen: Screen) -> bool:
    """`keeps_training_pixels`, and a word where the disk decided."""
    free = shutil.disk_usage(folder).free
    kept = keeps_training_pixels(settings, count, free)
    if not kept and settings.cache == "auto":
        screen.say(
            f"prepare: decoded, the pictures would take {_bytes_wanted(settings, count) / 1e9:.1f} GB for a "
            f"moment and half of it to stay; {free / 1e9:.1f} GB are free. So each epoch decodes the "
            "photographs anew (--cache none)."
        )
    return kept


def unchanged(source: str | None, settings: DataSettings, seed: int, folder: Path, screen: Screen) -> bool:
    """Whether `folder` is complete for exactly these photographs: what `prepare` would skip.

    Where the photographs lie has no part in it; their paths below `source` have.

    Raises:
        UsageError, DataError, SetupError: as `kdtool.data.sources.load_listing`.
    """
    listing = load_listing(source)
    hashes = hash_samples(listing.samples, screen)
    return Stage(STAGE, folder, stage_inputs(listing, hashes, settings, seed)).complete() is not None


def stage_inputs(
    listing: Listing, hashes: Sequence[str], settings: DataSettings, seed: int
) -> dict[str, Any]:
    """All that the prepared files are a function of; `hashes` are those of the listing's samples."""
    content = [
        [sample.path, sample.label, sample.split, digest]
        for sample, digest in zip(listing.samples, hashes, strict=True)
    ]
    apart = {f"{split}_fraction" for split in ("validation", "test") if split not in listing.carve}
    return {
        "content": sha256_json([content, {k: list(v) for k, v in listing.classes_by_split.items()}]),
        "settings": settings.model_dump(mode="json", exclude={*apart, "cache"}),
        "seed": seed if listing.carve else None,
        "decode_rule": DECODE_RULE,
        "pillow": pillow_version,
    }


def _require_unchanged(found: Scan, hashes: Sequence[str]) -> None:
    """The scan must have read the very bytes that the key was made of."""
    outcomes: list[Photo | Unreadable] = [*found.photos, *found.unreadable]
    read = {outcome.sample: outcome.sha256 for outcome in outcomes}
    for sample, digest in zip(found.listing.samples, hashes, strict=True):
        if read[sample] != digest:
            raise DataError(
                f"{found.listing.source}: {printable(sample.path)} changed while it was read.",
                "Wait until the photographs are all there, then run the command again.",
            )


class Pixels:
    """What comes of each photograph: a hash and sums of its pixels, and in `stream`, if any, themselves."""

    def __init__(self, stream: BinaryIO | None, side: int) -> None:
        self._stream, self._side = stream, side
        self.hashes: list[str] = []
        self.sums: list[Sums] = []

    def add(self, image: UInt8Array) -> None:
        content = image.tobytes()
        self.hashes.append(sha256_bytes(content))
        self.sums.append(channel_sums(image))
        if self._stream:
            self._stream.write(content)

    def images(self, rows: Sequence[int]) -> Iterator[UInt8Array]:
        """Those of `rows` out of the stream, one in memory at a time."""
        assert self._stream
        length = self._side * self._side * 3
        for row in rows:
            self._stream.seek(row * length)
            yield np.frombuffer(self._stream.read(length), np.uint8).reshape(self._side, self._side, 3)


def _again(found: Scan, rows: Sequence[int], preprocess: Preprocess) -> Iterator[UInt8Array]:
    """Those of `rows`, decoded a second time."""
    photos = [found.photos[row] for row in rows]
    paths, hashes = [photo.sample.path for photo in photos], [photo.sha256 for photo in photos]
    photographs = Photographs(paths, hashes, [photo.sample.read for photo in photos], preprocess)
    return ordered_map(photographs.decoded, range(len(rows)))


def _write_pixels(path: Path, images: Iterable[UInt8Array], count: int, side: int) -> None:
    """A .npy file of (N, side, side, 3) uint8, written image by image."""
    header = {"descr": "|u1", "fortran_order": False, "shape": (count, side, side, 3)}
    with durable(path) as partial, partial.open("wb") as target:
        np.lib.format.write_array_header_1_0(target, header)
        for image in images:
            target.write(image.tobytes())


def _samples_csv(found: Scan, rows: dict[str, list[int]]) -> str:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    writer.writerow(COLUMNS)
    for name, members in rows.items():
        for index, row in enumerate(members):
            photo = found.photos[row]
            writer.writerow((name, index, photo.sample.path, photo.sample.label, photo.sha256))
    return stream.getvalue()


def _record(
    found: Scan, rows: dict[str, list[int]], preprocess: Preprocess, hashes: Sequence[str], place: str
) -> dict[str, Any]:
    classes = found.listing.classes
    position = {label: index for index, label in enumerate(classes)}
    identity = {
        "classes": list(classes),
        "preprocess": preprocess.to_json(),
        "pixels": {name: [hashes[row] for row in members] for name, members in rows.items()},
        "labels": {
            name: [position[found.photos[row].sample.label] for row in members]
            for name, members in rows.items()
        },
    }
    return {
        "schema": SCHEMA,
        "source": found.listing.source,
        "classes": list(classes),
        "preprocess": preprocess.to_json(),
        "digest": sha256_json(identity),
        "photographs": place,
        "counts": {name: len(members) for name, members in rows.items()},
        "left_out": [
            {"path": bad.sample.path, "sha256": bad.sha256, "reason": bad.reason} for bad in found.unreadable
        ],
        "ignored": dict(found.listing.ignored),
        "warnings": dict(Counter(finding.kind for finding in found.findings if not finding.fatal)),
    }
