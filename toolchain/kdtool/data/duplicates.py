"""Pictures that are the same: exactly (equal decoded pixels) or nearly (close perceptual hashes)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import combinations
from typing import TYPE_CHECKING, Any

from PIL import Image

from kdtool.core.text import printable
from kdtool.data.findings import Finding

if TYPE_CHECKING:
    from kdtool.data.examine import Photo

LOOK_BITS = 64
LOOK_DISTANCE = 4  # bits; pictures that differ in more are taken for different ones
SMALLEST_LOOK = 32  # pixels; the hash works on 32 × 32, and says little of a picture blown up to that
# Of LOOK_DISTANCE + 1 bands, two hashes within the distance have at least one in common.
_BANDS = [
    (LOOK_BITS * band // (LOOK_DISTANCE + 1), LOOK_BITS * (band + 1) // (LOOK_DISTANCE + 1))
    for band in range(LOOK_DISTANCE + 1)
]


def perceptual_hash(image: Image.Image) -> int | None:
    """64 bits that survive re-encoding and scaling (pHash); None for tiny pictures or without imagehash."""
    if min(image.size) < SMALLEST_LOOK:
        return None
    imagehash = _imagehash()
    return int(str(imagehash.phash(image)), 16) if imagehash else None


@cache
def _imagehash() -> Any:
    try:
        import imagehash
    except ImportError:
        return None
    return imagehash


def by_picture(photos: Sequence[Photo]) -> list[list[int]]:
    """Indices of `photos` grouped by equal decoded pixels, in the order of their first."""
    groups: dict[str, list[int]] = defaultdict(list)
    for index, photo in enumerate(photos):
        groups[photo.picture].append(index)
    return list(groups.values())


def exact_findings(photos: Sequence[Photo], splits: Sequence[str], allow_leaks: bool) -> Iterator[Finding]:
    """Pictures in more than one split (fatal unless allowed) and under more than one class (a warning)."""
    for group in by_picture(photos):
        members = [(splits[index], photos[index].sample) for index in group]
        paths = tuple(sample.path for _, sample in members)
        if len({split for split, _ in members}) > 1:
            where = _listed((sample.path, split) for split, sample in members)
            yield Finding("leak", where, paths, fatal=not allow_leaks)
        if len({sample.label for _, sample in members}) > 1:
            where = ", ".join(
                f"{printable(sample.path)} ({printable(sample.label)})" for _, sample in members
            )
            yield Finding("labels", where, paths, fatal=False)


def near_findings(photos: Sequence[Photo], splits: Sequence[str]) -> Iterator[Finding]:
    """Different pictures in two splits or classes whose looks differ in at most `LOOK_DISTANCE` bits."""
    by_look: dict[int, list[int]] = defaultdict(list)
    for index, photo in enumerate(photos):
        if photo.look is not None:
            by_look[photo.look].append(index)
    place = [(split, photo.sample.label) for split, photo in zip(splits, photos, strict=True)]
    pairs = {
        (min(i, j), max(i, j))
        for one, other in _close(by_look)
        for i in by_look[one]
        for j in by_look[other]
        if place[i] != place[j] and photos[i].picture != photos[j].picture
    }
    for pair in sorted(pairs):
        where = ", ".join(
            f"{printable(photos[i].sample.path)} ({printable(', '.join(place[i]))})" for i in pair
        )
        yield Finding("near", where, tuple(photos[i].sample.path for i in pair), fatal=False)


def _close(looks: Mapping[int, Any]) -> Iterator[tuple[int, int]]:
    """Pairs of looks within the distance, and each look with itself; only those that share a band meet."""
    yield from ((look, look) for look in looks)
    for low, high in _BANDS:
        buckets: dict[int, list[int]] = defaultdict(list)
        for look in looks:
            buckets[look >> low & (1 << high - low) - 1].append(look)
        yield from _within(buckets.values())


def _within(buckets: Iterable[list[int]]) -> Iterator[tuple[int, int]]:
    for bucket in buckets:
        for one, other in combinations(bucket, 2):
            if (one ^ other).bit_count() <= LOOK_DISTANCE:
                yield one, other


def _listed(cases: Iterable[tuple[str, str]]) -> str:
    return ", ".join(printable(f"{path} ({note})") for path, note in cases)
