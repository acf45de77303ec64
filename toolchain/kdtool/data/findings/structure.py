"""Findings about the classes: too few, different between splits, or with too few photographs."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from kdtool.data.findings.finding import Finding
from kdtool.data.listing import LOOSE, Listing
from kdtool.data.photo import Photo


def class_findings(listing: Listing, photos: Sequence[Photo]) -> Iterator[Finding]:
    """Find too few classes, classes that differ between splits, and classes without a readable photograph."""
    classes = listing.classes
    if len(classes) < 2:
        has = f"only the class {classes[0]!r}" if classes else "no class folder"
        outside = listing.ignored.get(LOOSE, 0)
        loose = f" ({outside} photo file(s) lie outside the class folders)" if outside else ""
        yield Finding("classes", f"train has {has}{loose}; a classifier needs at least 2.")
    for split, declared in listing.classes_by_split.items():
        for label, count in Counter(declared).items():
            if count > 1:  # a name that is not UTF-8 is written with escapes, which may equal another name
                yield Finding("classes", f"{split} has {count} classes that are written {label!r}.")
        missing, extra = sorted(set(classes) - set(declared)), sorted(set(declared) - set(classes))
        if missing:
            yield Finding("classes", f"{split} lacks {_list(missing)}, which train has.")
        if extra:
            yield Finding("classes", f"{split} has {_list(extra)}, which train lacks.")
    readable = Counter((photo.sample.split, photo.sample.label) for photo in photos)
    for split, declared in listing.classes_by_split.items():
        for label in declared:
            if not readable[split, label]:
                yield Finding("classes", f"{split}: the class {label!r} has no readable photograph.")


def few_findings(listing: Listing, photos: Sequence[Photo]) -> Iterator[Finding]:
    """Find classes with fewer different images than there are splits."""
    needed = 1 + len(listing.carve)
    if needed == 1:
        return
    different: dict[str, set[str]] = defaultdict(set)
    for photo in photos:
        if photo.sample.split == "train":
            different[photo.sample.label].add(photo.pixels_sha256)
    splits = ", ".join(("train", *listing.carve))
    for label in listing.classes:
        count = len(different[label])
        if 0 < count < needed:
            yield Finding(
                "few",
                f"{label!r} has {count} different photograph(s); the splits {splits} need at least {needed}.",
            )


def _list(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names)
