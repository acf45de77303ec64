"""The figures of a scan that `kdtool data check` shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from kdtool.data.findings.finding import Finding
from kdtool.data.listing import SPLITS
from kdtool.data.scan import Scan

SCHEMA = 1


@dataclass(frozen=True)
class Overview:
    """Figures of a scan.

    Attributes:
        counts: split → class → readable photographs, carved splits included.
        sides: shortest side in pixels: its smallest, median and largest value; empty without a photograph.
        modes, formats: Pillow mode, file format → number of photographs.
        repeated: number of photographs whose image occurs earlier in the same split.
        left_out: number of photo files that cannot be read and are left out.
        ignored: kind of file → number of ignored files.
    """

    source: str
    classes: tuple[str, ...]
    counts: dict[str, dict[str, int]]
    sides: tuple[int, ...]
    modes: dict[str, int]
    formats: dict[str, int]
    repeated: int
    left_out: int
    ignored: dict[str, int]
    findings: tuple[Finding, ...]

    def to_json(self) -> dict[str, Any]:
        findings = [finding.to_json() for finding in self.findings]
        return {"schema": SCHEMA, **self.__dict__, "findings": findings}


def overview(scanned: Scan) -> Overview:
    """Compute the figures of a scan."""
    classes = tuple(
        dict.fromkeys(label for declared in scanned.listing.classes_by_split.values() for label in declared)
    )
    placed = list(zip(scanned.splits, scanned.photos, strict=True))
    counts = Counter((split, photo.sample.label) for split, photo in placed)
    sides = sorted(min(photo.width, photo.height) for photo in scanned.photos)
    different = {(split, photo.pixels_sha256) for split, photo in placed}
    return Overview(
        source=scanned.listing.source,
        classes=classes,
        counts={split: {label: counts[split, label] for label in classes} for split in SPLITS},
        sides=(sides[0], sides[len(sides) // 2], sides[-1]) if sides else (),
        modes=_most_common(photo.mode for photo in scanned.photos),
        formats=_most_common(photo.format for photo in scanned.photos),
        repeated=len(scanned.photos) - len(different),
        left_out=sum(finding.kind == "unreadable" and not finding.fatal for finding in scanned.findings),
        ignored=dict(scanned.listing.ignored),
        findings=scanned.findings,
    )


def _most_common(names: Iterable[str]) -> dict[str, int]:
    return dict(Counter(names).most_common())
