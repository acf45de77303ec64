"""Conversion of older bench.json files to the schema of today."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from kdtool.core.typed import typed
from kdtool.results.claim import Judged, VerdictName, usual_claim
from kdtool.results.measures import IMAGES
from kdtool.results.statistics.estimate import Interval

FIRST_SCHEMA = 1  # only the usual claim, and one number of threads
OLDER_SCHEMAS = (FIRST_SCHEMA, 2)  # times of one session
OF_ONE_SESSION = ("p50_ci", "p90_ci", "p99_ci", "ratio_ci", "images_per_s_ci")


@dataclass(frozen=True)
class _Thresholds:
    """Limits of the usual claim."""

    min_retention: float = 0.94
    max_compute: float = 0.50


@dataclass(frozen=True)
class _FirstClaim:
    """Verdict in a file of the first schema, which has no list of bounds."""

    verdict: VerdictName
    retention: float | None
    retention_ci: Interval | None
    compute_ratio: float | None
    thresholds: _Thresholds = field(default_factory=_Thresholds)
    images_needed: int | None = None

    def bounds(self) -> tuple[Judged, ...]:
        """Return the two bounds of the usual claim, with their verdicts."""
        retention, compute = usual_claim(self.thresholds.min_retention, self.thresholds.max_compute)
        accuracy_verdict: VerdictName = "INCONCLUSIVE"
        if self.retention_ci is not None and self.retention_ci[0] >= retention.limit:
            accuracy_verdict = "PASS"
        elif self.retention_ci is not None and self.retention_ci[1] < retention.limit:
            accuracy_verdict = "FAIL"
        ratio = self.compute_ratio
        compute_verdict: VerdictName = "INCONCLUSIVE"
        if ratio is not None:
            # If the claim failed but not its retention, the exact ratio was over the limit, its float is not.
            over = ratio > compute.limit or (self.verdict == "FAIL" and accuracy_verdict != "FAIL")
            compute_verdict = "FAIL" if over else "PASS"
        return (
            Judged(
                retention.measure, True, retention.limit, accuracy_verdict, self.retention, self.retention_ci,
                self.images_needed, IMAGES if self.retention_ci else None,
            ),
            Judged(compute.measure, False, compute.limit, compute_verdict, ratio),
        )  # fmt: skip


def upgraded(content: dict[str, Any]) -> dict[str, Any]:
    """Convert the content of an older file to the fields of today; wrong fields are not changed.

    In the oldest files the latency ratio is beside `latency_ms`: only one number of threads had a ratio. In
    all older files the times are of one process. Their intervals held how times differ within it, and not how
    processes differ, which is more. So they are left out.

    Raises:
        ValueError: the claim in a file of the first schema is wrong.
    """
    rows = content.get("models")
    for row in rows if isinstance(rows, list) else ():
        latency = row.get("latency_ms") if isinstance(row, dict) else None
        if isinstance(latency, dict) and latency.get("ratio") is None:
            latency |= {"ratio": row.get("latency_ratio")}
        if isinstance(row, dict) and content["schema"] in OLDER_SCHEMAS:
            _leave_out_intervals(row)
    if content["schema"] == FIRST_SCHEMA:
        claim = typed(_FirstClaim, content.get("claim"))
        content["claim"]["bounds"] = [asdict(bound) for bound in claim.bounds()]
    return content


def _leave_out_intervals(row: dict[str, Any]) -> None:
    """Remove the intervals of the times of one model."""
    others = [row.get(key) for key in ("other_threads", "other_throughputs")]
    lists = [part for part in others if isinstance(part, list)]
    for series in (row.get("latency_ms"), row.get("throughput"), *(one for part in lists for one in part)):
        if isinstance(series, dict):
            series |= {key: None for key in OF_ONE_SESSION if key in series}
