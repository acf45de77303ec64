"""Duplicates among photographs: exact (equal decoded pixels) and near (close perceptual hashes)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from kdtool.core.text import printable
from kdtool.data.findings.finding import Finding
from kdtool.data.photo import Photo

PHASH_BITS = 64
PHASH_DISTANCE = 4  # bits; images whose hashes differ in more bits count as different
NAMED = 6  # photographs of a group that a message names; `Finding.paths` has all of them
# Two hashes that differ in at most PHASH_DISTANCE bits are equal in at least one of PHASH_DISTANCE + 1 bands.
_BANDS = [
    (PHASH_BITS * band // (PHASH_DISTANCE + 1), PHASH_BITS * (band + 1) // (PHASH_DISTANCE + 1))
    for band in range(PHASH_DISTANCE + 1)
]
_ONES = np.array([word.bit_count() for word in range(1 << 16)], dtype=np.uint8)


def by_pixels(photos: Sequence[Photo]) -> list[list[int]]:
    """Group the indices of `photos` by equal decoded pixels; groups are in the order of their first index."""
    groups: dict[str, list[int]] = defaultdict(list)
    for index, photo in enumerate(photos):
        groups[photo.pixels_sha256].append(index)
    return list(groups.values())


def exact_findings(photos: Sequence[Photo], splits: Sequence[str], allow_leaks: bool) -> Iterator[Finding]:
    """Find equal images in several splits (fatal unless allowed) or under several classes (a warning)."""
    labels = [photo.sample.label for photo in photos]
    for group in by_pixels(photos):
        if len({splits[index] for index in group}) > 1:
            yield _finding("leak", photos, group, splits, fatal=not allow_leaks)
        if len({labels[index] for index in group}) > 1:
            yield _finding("labels", photos, group, labels, fatal=False)


def near_findings(photos: Sequence[Photo], splits: Sequence[str]) -> Iterator[Finding]:
    """Find groups of different images that look alike and lie in several splits or classes.

    Two images look alike if their perceptual hashes differ in at most `PHASH_DISTANCE` bits, or if a chain of
    such pairs links them. So each image belongs to one group.
    """
    hashed = [(index, photo.phash) for index, photo in enumerate(photos) if photo.phash is not None]
    places = [f"{split}, {photo.sample.label}" for split, photo in zip(splits, photos, strict=True)]
    groups: dict[int, list[int]] = defaultdict(list)
    for (index, _), group in zip(hashed, _alike([phash for _, phash in hashed]), strict=True):
        groups[group].append(index)
    for members in groups.values():
        different = {photos[index].pixels_sha256 for index in members}
        if len(different) > 1 and len({places[index] for index in members}) > 1:
            yield _finding("near", photos, members, places, fatal=False)


def alike(hashes: Sequence[int | None], others: Sequence[int]) -> list[bool]:
    """True for each perceptual hash that differs in at most `PHASH_DISTANCE` bits from one of `others`."""
    known = np.array(others, dtype=np.uint64)
    found = []
    for value in hashes:
        if value is None or not len(known):
            found.append(False)
            continue
        words = (known ^ np.uint64(value)).view(np.uint16).reshape(-1, PHASH_BITS // 16)
        found.append(bool(_ONES[words].sum(axis=1).min() <= PHASH_DISTANCE))
    return found


def _finding(
    kind: str, photos: Sequence[Photo], members: Sequence[int], places: Sequence[str], fatal: bool
) -> Finding:
    """Describe a group in one line that names at most `NAMED` photographs, first one of each place."""
    first = {places[index]: index for index in reversed(members)}
    heads = sorted(first.values())
    named = [*heads, *(index for index in members if first[places[index]] != index)][:NAMED]
    cases = [printable(f"{photos[index].sample.path} ({places[index]})") for index in sorted(named)]
    more = [f"… and {len(members) - NAMED:,} more"] if len(members) > NAMED else []
    return Finding(kind, ", ".join(cases + more), tuple(photos[i].sample.path for i in members), fatal)


def _alike(hashes: Sequence[int]) -> npt.NDArray[np.intp]:
    """Return the group number of each perceptual hash, (N,); only hashes with an equal band are compared."""
    bits, inverse = np.unique(np.array(hashes, dtype=np.uint64), return_inverse=True)
    words = bits.view(np.uint16).reshape(-1, PHASH_BITS // 16)
    group = np.arange(len(bits))
    for low, high in _BANDS:
        band = bits >> np.uint64(low) & np.uint64((1 << high - low) - 1)
        order = np.argsort(band, kind="stable")
        for bucket in np.split(order, np.flatnonzero(np.diff(band[order])) + 1):
            for place, index in enumerate(bucket[:-1]):
                others = bucket[place + 1 :]
                others = others[group[others] != group[index]]
                distance = _ONES[words[others] ^ words[index]].sum(axis=1)
                for merged in set(group[others[distance <= PHASH_DISTANCE]].tolist()):
                    group[group == merged] = group[index]
    return group[inverse]
