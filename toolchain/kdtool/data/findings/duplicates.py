"""Duplicates among photographs: exact (equal decoded pixels) and near (close perceptual hashes)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from kdtool.core.text import printable
from kdtool.data.examine import Photo
from kdtool.data.findings.finding import Finding

PHASH_BITS = 64
PHASH_DISTANCE = 4  # bits; images whose hashes differ in more bits count as different
NAMED = 6  # photographs of a group in a message; `Finding.paths` has all of them
# Two hashes within PHASH_DISTANCE agree in at least one of PHASH_DISTANCE + 1 bands.
_BANDS = [
    (PHASH_BITS * band // (PHASH_DISTANCE + 1), PHASH_BITS * (band + 1) // (PHASH_DISTANCE + 1))
    for band in range(PHASH_DISTANCE + 1)
]
_ONES = np.array([word.bit_count() for word in range(1 << 16)], dtype=np.uint8)


def by_pixels(photos: Sequence[Photo]) -> list[list[int]]:
    """Indices of `photos` grouped by equal decoded pixels, in the order of their first."""
    groups: dict[str, list[int]] = defaultdict(list)
    for index, photo in enumerate(photos):
        groups[photo.pixels_sha256].append(index)
    return list(groups.values())


def exact_findings(photos: Sequence[Photo], splits: Sequence[str], allow_leaks: bool) -> Iterator[Finding]:
    """Equal images in more than one split (fatal unless allowed) or under more than one class (a warning)."""
    labels = [photo.sample.label for photo in photos]
    for group in by_pixels(photos):
        if len({splits[index] for index in group}) > 1:
            yield _finding("leak", photos, group, splits, fatal=not allow_leaks)
        if len({labels[index] for index in group}) > 1:
            yield _finding("labels", photos, group, labels, fatal=False)


def near_findings(photos: Sequence[Photo], splits: Sequence[str]) -> Iterator[Finding]:
    """Groups of different images, in two splits or classes, that look alike.

    Two images whose perceptual hashes differ in at most `PHASH_DISTANCE` bits are alike, and so are two that
    a chain of such pairs links: each image belongs to one group.
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


def _finding(
    kind: str, photos: Sequence[Photo], members: Sequence[int], places: Sequence[str], fatal: bool
) -> Finding:
    """A group in one line: one photograph of each place first, then others, at most `NAMED` of them."""
    first = {places[index]: index for index in reversed(members)}
    heads = sorted(first.values())
    named = [*heads, *(index for index in members if first[places[index]] != index)][:NAMED]
    cases = [printable(f"{photos[index].sample.path} ({places[index]})") for index in sorted(named)]
    more = [f"… and {len(members) - NAMED:,} more"] if len(members) > NAMED else []
    return Finding(kind, ", ".join(cases + more), tuple(photos[i].sample.path for i in members), fatal)


def _alike(hashes: Sequence[int]) -> npt.NDArray[np.intp]:
    """The group of each perceptual hash, (N,); only hashes that share a band are compared."""
    bits, inverse = np.unique(np.array(hashes, dtype=np.uint64), return_inverse=True)
    words = bits.view(np.uint16).reshape(-1, PHASH_BITS // 16)
    group = np.arange(len(bits))
    for low, high in _BANDS:
        band = bits >> np.uint64(low) & np.uint64((1 << high - low) - 1)
        order = np.argsort(band, kind="stable")
        for bucket in np.split(order, np.flatnonzero(np.diff(band[order])) + 1):
            for place, one in enumerate(bucket[:-1]):
                others = bucket[place + 1 :]
                others = others[group[others] != group[one]]
                distance = _ONES[words[others] ^ words[one]].sum(axis=1)
                for other in set(group[others[distance <= PHASH_DISTANCE]].tolist()):
                    group[group == other] = group[one]
    return group[inverse]
