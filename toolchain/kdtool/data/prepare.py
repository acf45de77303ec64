"""The first stage: from photographs to `Prepared`.

    list → hash → (complete? done) → scan: decode once, resize, crop → split → write → manifest

Training images that are not to be kept, or would not fit on the disk, are not written:
`kdtool.data.photographs` decodes them when they are asked for. The digest is computed from the pixels in
both cases, so what was trained stays valid.

The key is the content: the hash of each file's bytes with its path, class and split, the settings,
the decode rule's version and Pillow's. Modification times have no part in it.
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
from kdtool.core.text import printable
from kdtool.data.examine import Photo, Unreadable
from kdtool.data.listing import Listing, hash_samples
from kdtool.data.notices import summary, tell, tell_change
from kdtool.data.reader import STAGE, Prepared, read_prepared
from kdtool.data.scan import Scan, preprocess_of, scan
from kdtool.data.sources import load_listing, resolve
from kdtool.data.writer import Pixels, write_prepared
from kdtool.machine.packages import required, versions_of
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
    preprocess = preprocess_of(settings)
    with scratch(folder) as stream:
        kept = _decide(settings, len(listing.samples), folder, screen)
        pixels = Pixels(stream if kept else None, preprocess)
        found = scan(listing, settings, seed, screen, keep=pixels.add)
        found.require(screen)
        _require_unchanged(found, hashes)
        stage.reopen()
        remove_partial(folder)
        files = write_prepared(folder, found, pixels, preprocess, "" if kept else resolve(source))
    prepared = read_prepared(folder)
    stage.seal(
        files,
        {"digest": prepared.digest, "counts": dict(prepared.counts), "left_out": len(found.unreadable)},
        versions_of(required()),
    )
    screen.say(f"prepare: {summary(prepared)}")
    return prepared, False


def _standing(stage: Stage, folder: Path) -> Prepared | None:
    """The prepared data that is complete already, if this version of kdtool can read it."""
    with contextlib.suppress(DataError):
        return read_prepared(folder) if stage.complete() else None
    return None


def keeps_enough(prepared: Prepared, settings: DataSettings) -> bool:
    """Whether `prepared` has the pixels that `settings.cache` wants to be kept."""
    return not (prepared.photographs and settings.cache in KEPT)


def keeps_training_pixels(settings: DataSettings, count: int, free: int) -> bool:
    """Whether the training pixels of `count` photographs are written, with `free` bytes of disk left."""
    fits = _bytes_wanted(settings, count) <= SHARE_OF_DISK * free
    return fits if settings.cache == "auto" else settings.cache in KEPT


def _bytes_wanted(settings: DataSettings, count: int) -> int:
    """Disk space at the peak: the pixels in the order of the source, and again in that of the splits."""
    return 2 * count * settings.size**2 * 3


def _decide(settings: DataSettings, count: int, folder: Path, screen: Screen) -> bool:
    """`keeps_training_pixels` with the disk of `folder`; tells the user if a small disk decided."""
    free = shutil.disk_usage(folder).free
    kept = keeps_training_pixels(settings, count, free)
    if not kept and settings.cache == "auto":
        screen.say(
            f"prepare: decoded, the pictures would take {_bytes_wanted(settings, count) / 1e9:.1f} GB for a "
            f"moment and half of it to stay; {free / 1e9:.1f} GB are free. So each epoch decodes the "
            "photographs again (--cache none)."
        )
    return kept


def unchanged(source: str | None, settings: DataSettings, seed: int, folder: Path, screen: Screen) -> bool:
    """Whether `prepare` would skip: `folder` is complete for exactly these photographs.

    The place of the photographs plays no part; their paths below `source` do.

    Raises:
        UsageError, DataError, SetupError: as `kdtool.data.sources.load_listing`.
    """
    listing = load_listing(source)
    hashes = hash_samples(listing.samples, screen)
    return Stage(STAGE, folder, stage_inputs(listing, hashes, settings, seed)).complete() is not None


def stage_inputs(
    listing: Listing, hashes: Sequence[str], settings: DataSettings, seed: int
) -> dict[str, Any]:
    """Everything that determines the prepared files; `hashes` are those of the listing's samples."""
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
    """Raise DataError unless the scan read the same bytes as the key was computed from."""
    outcomes: list[Photo | Unreadable] = [*found.photos, *found.unreadable]
    read = {outcome.sample: outcome.sha256 for outcome in outcomes}
    for sample, digest in zip(found.listing.samples, hashes, strict=True):
        if read[sample] != digest:
            raise DataError(
                f"{found.listing.source}: {printable(sample.path)} changed while it was read.",
                "Wait until the photographs are all there, then run the command again.",
            )
