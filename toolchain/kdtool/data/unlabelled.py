"""Photographs without labels, for which the teacher's answers are the only labels.

They are prepared as the others are, into `data/unlabelled/`. A picture that validation or test has, also
resized or encoded anew, is left out: the student would train on what it is measured with. So is one that
training has with its label.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from kdtool.core.errors import DataError
from kdtool.core.files import remove_partial, scratch, sha256_json
from kdtool.core.screen import Screen
from kdtool.core.spelling import argument
from kdtool.core.text import printable
from kdtool.data.findings.duplicates import alike
from kdtool.data.listing import Sample, hash_samples
from kdtool.data.photo import Photo, Unreadable, scan_sample
from kdtool.data.prepare import keeps_training_pixels, stage_inputs
from kdtool.data.reader import TRAIN, Prepared, read_prepared
from kdtool.data.scan import Scan, preprocess_of
from kdtool.data.sources import load_listing
from kdtool.data.sources.unlabelled import PREFIX
from kdtool.data.writer import Pixels, write_prepared
from kdtool.machine.packages import required, versions_of
from kdtool.machine.parallel import ordered_map
from kdtool.recipe.settings import DataSettings
from kdtool.runs.stage import Manifest, Stage, intact, read_manifest

STAGE = FOLDER = "unlabelled"  # the folder lies in that of the prepared data
SEEN, LABELLED, REPEATED, BROKEN = "in validation or test", "in training", "repeated", "unreadable"


@dataclass(frozen=True)
class Counts:
    """Number of photographs without labels: `used`, and left out by reason."""

    used: int
    left_out: Mapping[str, int]

    def __str__(self) -> str:
        out = ", ".join(f"{count:,} {reason}" for reason, count in self.left_out.items() if count)
        return f"{self.used:,} photographs without labels" + (f"; left out: {out}" if out else "")


def prepare_unlabelled(
    prepared: Prepared, settings: DataSettings, folder: Path, screen: Screen
) -> tuple[Prepared, Counts]:
    """Prepare the photographs of `settings.unlabelled` into `folder`; skipped if this is complete.

    Args:
        prepared: the photographs with labels; their source must be there, unless this is complete.

    Raises:
        DataError: the folder has no photograph that can be used.
    """
    source = f"{PREFIX}{settings.unlabelled}"
    listing = load_listing(source)
    hashes = hash_samples(listing.samples, screen)
    known = sha256_json([prepared.files(split) for split in prepared.counts])
    inputs = {**stage_inputs(listing, hashes, settings, 0), "labelled": known}
    stage = Stage(STAGE, folder, inputs)
    manifest = stage.complete()
    if manifest is not None:
        return _opened(folder, settings, manifest)
    stored = keeps_training_pixels(settings, len(listing.samples), shutil.disk_usage(folder.parent).free)
    with scratch(folder) as stream:
        pixels = Pixels(stream if stored else None, preprocess_of(settings))
        outcomes = _scan(listing.samples, settings, pixels, screen)
        known_photos = _labelled(prepared, settings, screen)
        reasons = _left_out(outcomes, known_photos)
        counts = Counter(reason for reason in reasons if reason)
        if counts.total() == len(outcomes):
            raise DataError(
                f"{settings.unlabelled}: no photograph is left ({Counts(0, counts)}).",
                f"Give other photographs, or leave {argument('data.unlabelled')} out.",
            )
        stage.reopen()
        remove_partial(folder)
        photos = [photo for photo in outcomes if isinstance(photo, Photo)]
        kept = [r for photo, r in zip(outcomes, reasons, strict=True) if isinstance(photo, Photo)]
        splits = tuple("" if reason else TRAIN for reason in kept)  # only a split is written
        unreadable = tuple(bad for bad in outcomes if isinstance(bad, Unreadable))
        scanned = Scan(listing, tuple(photos), splits, unreadable, ())
        files = write_prepared(folder, scanned, pixels, preprocess_of(settings), "" if stored else source)
    used = read_prepared(folder)
    result = {"digest": used.digest, "used": used.counts[TRAIN], "left_out": dict(counts)}
    manifest = stage.seal(files, result, versions_of(required()))
    _, told = _opened(folder, settings, manifest)
    screen.say(f"prepare: {told}.")
    if unreadable:
        named = ", ".join(printable(bad.sample.path) for bad in unreadable[:3])
        screen.warn(f"{settings.unlabelled}: {len(unreadable)} photo file(s) cannot be read: {named}, …")
    return _opened(folder, settings, manifest)


def open_unlabelled(settings: DataSettings, folder: Path) -> tuple[Prepared, Counts] | None:
    """Open the photographs without labels as they were prepared; their folder need not be there any more."""
    manifest = read_manifest(folder / "manifest.json")
    return _opened(folder, settings, manifest) if manifest and intact(folder, manifest) else None


def _opened(folder: Path, settings: DataSettings, manifest: Manifest) -> tuple[Prepared, Counts]:
    prepared = read_prepared(folder).at(f"{PREFIX}{settings.unlabelled}")
    return prepared, Counts(int(manifest.result["used"]), dict(manifest.result["left_out"]))


def _scan(
    samples: Sequence[Sample], settings: DataSettings, pixels: Pixels | None, screen: Screen
) -> list[Photo | Unreadable]:
    outcomes: list[Photo | Unreadable] = []
    scan_one = partial(scan_sample, preprocess=preprocess_of(settings))
    with screen.bar("scan", len(samples)) as bar:
        for outcome, image in ordered_map(scan_one, samples):
            outcomes.append(outcome)
            if pixels is not None and image is not None:
                pixels.add(image)
            bar.advance()
    return outcomes


def _labelled(prepared: Prepared, settings: DataSettings, screen: Screen) -> dict[str, list[Photo]]:
    """Scan the photographs with labels again: split → photos."""
    samples = {sample.path: sample for sample in load_listing(prepared.source).samples}
    return {
        split: [
            photo
            for photo in _scan(
                [samples[path] for path in prepared.files(split)[0] if path in samples],
                settings,
                None,
                screen,
            )
            if isinstance(photo, Photo)
        ]
        for split in prepared.counts
    }


def _left_out(outcomes: Sequence[Photo | Unreadable], known: Mapping[str, Sequence[Photo]]) -> list[str]:
    """Say for each photo file why it is left out; empty for one that is used."""
    photos = [photo for photo in outcomes if isinstance(photo, Photo)]
    held_out = [photo for split, members in known.items() if split != TRAIN for photo in members]
    looks_held_out = _alike_to(photos, held_out)
    labelled = {photo.pixels_sha256 for photo in known[TRAIN]}
    held_out_pixels = {photo.pixels_sha256 for photo in held_out}
    reasons, before, number = [], set[str](), 0
    for outcome in outcomes:
        if isinstance(outcome, Unreadable):
            reasons.append(BROKEN)
            continue
        if looks_held_out[number] or outcome.pixels_sha256 in held_out_pixels:
            reasons.append(SEEN)
        elif outcome.pixels_sha256 in labelled:
            reasons.append(LABELLED)
        else:
            reasons.append(REPEATED if outcome.pixels_sha256 in before else "")
        before.add(outcome.pixels_sha256)
        number += 1
    return reasons


def _alike_to(photos: Sequence[Photo], others: Sequence[Photo]) -> list[bool]:
    """True for each photo that looks like one of `others`, by its perceptual hash."""
    hashes = [photo.phash for photo in photos]
    return alike(hashes, [photo.phash for photo in others if photo.phash is not None])
