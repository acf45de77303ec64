"""The first stage: from photographs to `Prepared`.

    list → hash → (complete? done) → scan: decode once, resize, crop → split → write → manifest

The pixels of the training images are not written if the user does not want that, or if they would not fit on
the disk: `kdtool.data.pixels.photographs` decodes these images when they are asked for. The digest comes from
the pixels in both cases, so trained networks stay valid.

The key of the stage is the content: the hash of each file's bytes with its path, class and split, the
settings, the version of the decode rule and that of Pillow. Modification times are no part of it.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import __version__ as pillow_version

from kdtool.core.errors import DataError
from kdtool.core.files import remove_partial, scratch, sha256_json
from kdtool.core.preprocess import DECODE_RULE
from kdtool.core.screen import Screen
from kdtool.core.spelling import assigned
from kdtool.core.text import printable
from kdtool.data.listing import Listing, hash_samples
from kdtool.data.notices import summary, tell, tell_change
from kdtool.data.photo import Photo, Unreadable
from kdtool.data.reader import STAGE, Prepared, read_prepared
from kdtool.data.scan import Scan, preprocess_of, scan
from kdtool.data.sources import load_listing, resolve
from kdtool.data.writer import Pixels, write_prepared
from kdtool.machine.packages import required, versions_of
from kdtool.recipe.settings import OF_TRAINING, DataSettings
from kdtool.runs.stage import Stage

STORED = ("memory", "disk")  # values of data.cache that write the training pixels
SHARE_OF_DISK = 0.8  # share of the free space that the training pixels may take with data.cache = "auto"


def prepare(
    source: str | None, settings: DataSettings, seed: int, folder: Path, screen: Screen
) -> tuple[Prepared, bool]:
    """Scan the photographs of `source` and write them, decoded, resized and cropped, to `folder`.

    Args:
        source: DATA as given on the command line; None is the embedded digits.
        seed: seed of the splits that are carved; it has no effect if the source has all splits.

    Returns:
        The prepared data, and True if it was complete already.

    Raises:
        DataError: the scan has fatal findings; the message has all of them.
        UsageError, SetupError: as `kdtool.data.sources.load_listing` and `kdtool.core.files`.
    """
    listing = load_listing(source)
    hashes = hash_samples(listing.samples, screen)
    stage = Stage(STAGE, folder, stage_inputs(listing, hashes, settings, seed))
    complete = _read_complete(stage, folder)
    if complete and keeps_enough(complete, settings):
        screen.say(f"prepare: complete, skipped ({summary(complete)})")
        if settings.cache == "none" and not complete.photographs:
            screen.say(f"prepare: an earlier run stored decoded training images in {folder}; they are used.")
        return complete.at(resolve(source)), True
    tell_change(stage, screen)
    tell(listing, settings, screen)
    preprocess = preprocess_of(settings)
    with scratch(folder) as stream:
        stored = _decide(settings, len(listing.samples), folder, screen)
        pixels = Pixels(stream if stored else None, preprocess)
        scanned = scan(listing, settings, seed, screen, keep=pixels.add)
        scanned.require(screen)
        _require_unchanged(scanned, hashes)
        stage.reopen()
        remove_partial(folder)
        files = write_prepared(folder, scanned, pixels, preprocess, "" if stored else resolve(source))
    prepared = read_prepared(folder)
    stage.seal(
        files,
        {"digest": prepared.digest, "counts": dict(prepared.counts), "left_out": len(scanned.unreadable)},
        versions_of(required()),
    )
    screen.say(f"prepare: {summary(prepared)}")
    return prepared, False


def _read_complete(stage: Stage, folder: Path) -> Prepared | None:
    """Read the prepared data if it is complete and this version of kdtool can read it."""
    with contextlib.suppress(DataError):
        return read_prepared(folder) if stage.complete() else None
    return None


def keeps_enough(prepared: Prepared, settings: DataSettings) -> bool:
    """True if `prepared` stores the pixels that `settings.cache` wants stored."""
    return not (prepared.photographs and settings.cache in STORED)


def keeps_training_pixels(settings: DataSettings, count: int, free: int) -> bool:
    """True if the training pixels of `count` photographs are written when `free` bytes of disk are free."""
    fits = _bytes_wanted(settings, count) <= SHARE_OF_DISK * free
    return fits if settings.cache == "auto" else settings.cache in STORED


def _bytes_wanted(settings: DataSettings, count: int) -> int:
    """Return the peak of disk space: the pixels are written in the order of the source, then by split."""
    return 2 * count * settings.size**2 * 3


def _decide(settings: DataSettings, count: int, folder: Path, screen: Screen) -> bool:
    """Apply `keeps_training_pixels` to the disk of `folder`; tell the user if the disk is too small."""
    free = shutil.disk_usage(folder).free
    stored = keeps_training_pixels(settings, count, free)
    if not stored and settings.cache == "auto":
        screen.say(
            f"prepare: the decoded images would take {_bytes_wanted(settings, count) / 1e9:.1f} GB for a "
            f"moment and half of that permanently; {free / 1e9:.1f} GB are free. So each epoch decodes the "
            f"photographs again ({assigned({'data.cache': 'none'})})."
        )
    return stored


def unchanged(source: str | None, settings: DataSettings, seed: int, folder: Path, screen: Screen) -> bool:
    """True if `prepare` would skip, since `folder` is complete for exactly these photographs.

    The photographs may have moved: only their paths below `source` count.

    Raises:
        UsageError, DataError, SetupError: as `kdtool.data.sources.load_listing`.
    """
    listing = load_listing(source)
    hashes = hash_samples(listing.samples, screen)
    return Stage(STAGE, folder, stage_inputs(listing, hashes, settings, seed)).complete() is not None


def stage_inputs(
    listing: Listing, hashes: Sequence[str], settings: DataSettings, seed: int
) -> dict[str, Any]:
    """Collect everything that determines the prepared files; `hashes` are those of the listed samples."""
    content = [
        [sample.path, sample.label, sample.split, digest]
        for sample, digest in zip(listing.samples, hashes, strict=True)
    ]
    unused = {f"{split}_fraction" for split in ("validation", "test") if split not in listing.carve}
    return {
        "content": sha256_json([content, {k: list(v) for k, v in listing.classes_by_split.items()}]),
        "settings": settings.model_dump(mode="json", exclude={*unused, *OF_TRAINING}),
        "seed": seed if listing.carve else None,
        "decode_rule": DECODE_RULE,
        "pillow": pillow_version,
    }


def _require_unchanged(scanned: Scan, hashes: Sequence[str]) -> None:
    """Raise DataError if the scan read other bytes than those that the key was computed from."""
    outcomes: list[Photo | Unreadable] = [*scanned.photos, *scanned.unreadable]
    scanned_hashes = {outcome.sample: outcome.sha256 for outcome in outcomes}
    for sample, digest in zip(scanned.listing.samples, hashes, strict=True):
        if scanned_hashes[sample] != digest:
            raise DataError(
                f"{scanned.listing.source}: {printable(sample.path)} changed while it was read.",
                "Wait until all photographs are there, then run the command again.",
            )
