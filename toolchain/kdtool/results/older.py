"""Older bench.json files as those of today."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from kdtool.core.typed import typed
from kdtool.results.claim import Judged, Outcome, usual_claim
from kdtool.results.measures import IMAGES
from kdtool.results.statistics import Interval

FIRST_SCHEMA = 1  # knew the usual claim alone, and one number of threads


@dataclass(frozen=True)
class _Thresholds:
    """The limits of the usual claim."""

    min_retention: float = 0.94
    max_compute: float = 0.50


@dataclass(frozen=True)
class _FirstClaim:
    """The verdict of the first version, which states no bounds."""

    verdict: Outcome
    retention: float | None
    retention_ci: Interval | None
    compute_ratio: float | None
    thresholds: _Thresholds = field(default_factory=_Thresholds)
    images_needed: int | None = None

    def bounds(self) -> tuple[Judged, ...]:
        """The two bounds of the usual claim."""
        retention, compute = usual_claim(self.thresholds.min_retention, self.thresholds.max_compute)
        kept: Outcome = "INCONCLUSIVE"
        if self.retention_ci is not None and self.retention_ci[0] >= retention.limit:
            kept = "PASS"
        elif self.retention_ci is not None and self.retention_ci[1] < retention.limit:
            kept = "FAIL"
        ratio = self.compute_ratio
        spent: Outcome = "INCONCLUSIVE"
        if ratio is not None:
            over = ratio > compute.limit or (self.verdict == "FAIL" and kept != "FAIL")  # by less than shows
            spent = "FAIL" if over else "PASS"
        return (
            Judged(
                retention.measure, True, retention.limit, kept, self.retention, self.retention_ci,
                self.images_needed, IMAGES if self.retention_ci else None,
            ),
            Judged(compute.measure, False, compute.limit, spent, ratio),
        )  # fmt: skip


def upgraded(content: dict[str, Any]) -> dict[str, Any]:
    """An older file with today's fields; what is wrong with it stays as it is.

    Files that were written before each number of threads had a ratio have it beside `latency_ms` alone.

    Raises:
        ValueError: the claim of a file of the first version is wrong.
    """
    rows = content.get("models")
    for row in rows if isinstance(rows, list) else ():
        latency = row.get("latency_ms") if isinstance(row, dict) else None
        if isinstance(latency, dict) and latency.get("ratio") is None:
            latency |= {"ratio": row.get("latency_ratio"), "ratio_ci": row.get("latency_ratio_ci")}
    if content["schema"] == FIRST_SCHEMA:
        claim = typed(_FirstClaim, content.get("claim"))
        content["claim"]["bounds"] = [asdict(bound) for bound in claim.bounds()]
    return content
