"""Findings on the classes themselves, known before or without any pixel."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from kdtool.data.examine import Photo
from kdtool.data.findings.finding import Finding
from kdtool.data.listing import LOOSE, Listing


def class_findings(listing: Listing, photos: Sequence[Photo]) -> Iterator[Finding]:
    """Fewer than two classes, classes that differ between splits, classes without a readable photograph."""
    classes = listing.classes
    if len(classes) < 2:
        has = f"only the class {classes[0]!r}" if classes else "no class folder"
        outside = listing.ignored.get(LOOSE, 0)
        loose = f" ({outside} pictures lie outside any class folder)" if outside else ""
        yield Finding("classes", f"train has {has}{loose}; a classifier needs at least 2.")
    for split, declared in listing.classes_by_split.items():
        for label, count in Counter(declared).items():
            if count > 1:  # bytes that are not UTF-8 are spelt out, and may then read like another name
                yield Finding("classes", f"{split} has {count} classes that are written {label!r}.")
        missing, more = sorted(set(classes) - set(declared)), sorted(set(declared) - set(classes))
        if missing:
            yield Finding("classes", f"{split} lacks {_list(missing)}, which train has.")
        if more:
            yield Finding("classes", f"{split} has {_list(more)}, which train lacks.")
    held = Counter((photo.sample.split, photo.sample.label) for photo in photos)
    for split, declared in listing.classes_by_split.items():
        for label in declared:
            if not held[split, label]:
                yield Finding("classes", f"{split}: the class {label!r} has no readable picture.")


def few_findings(listing: Listing, photos: Sequence[Photo]) -> Iterator[Finding]:
    """Classes with fewer different images than there are splits."""
    needed = 1 + len(listing.carve)
    if needed == 1:
        return
    different: dict[str, set[str]] = defaultdict(set)
    for photo in photos:
        if photo.sample.split == "train":
            different[photo.sample.label].add(photo.pixels_sha256)
    wanted = " and ".join(("train", *listing.carve))
    for label in listing.classes:
        count = len(different[label])
        if 0 < count < needed:
            yield Finding(
                "few", f"{label!r} has {count} different picture(s); {wanted} need at least {needed}."
            )


def _list(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names)
