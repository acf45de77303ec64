"""Claims: bounds on measures, such as `macs<=0.5,retention>=0.94`, and the verdict on them.

All bounds must hold at once. Each bound is tested at the full confidence: a claim that passes only if every
bound passes is an intersection–union test, which needs no correction for the number of bounds
(R. L. Berger, Technometrics 24 (1982) 295).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from typing import Any, Literal

from kdtool.core.errors import UsageError
from kdtool.core.spelling import assigned
from kdtool.results.measures import IMAGES, MEASURES, MeasuredValue, Resampling, Side
from kdtool.results.statistics.estimate import CONFIDENCE, Estimate, Interval

VerdictName = Literal["PASS", "FAIL", "INCONCLUSIVE"]
RETENTION, COMPUTE, PARAMETERS = "retention", "macs", "params"
BOUND = re.compile(r"\s*([a-z][a-z0-9_]*)\s*(<=|>=|≤|≥)\s*([0-9]+(?:\.[0-9]+)?)\s*")


@dataclass(frozen=True)
class Bound:
    """Limit on a measure of `kdtool.results.measures.MEASURES`."""

    measure: str
    at_least: bool
    limit: float

    def __str__(self) -> str:
        return f"{self.measure}{'>=' if self.at_least else '<='}{self.limit:g}"


@dataclass(frozen=True)
class Judged:
    """One bound of the claim, with its verdict.

    Attributes:
        value: value of the measure; None if it was not measured.
        interval: interval of the value; None if it was not measured, is exact, or was measured once only.
        needed: number of samples that would decide the bound; None if it is decided or no number decides it.
        of: name of these samples, such as "test images".
    """

    measure: str
    at_least: bool
    limit: float
    verdict: VerdictName
    value: float | None = None
    interval: Interval | None = None
    needed: int | None = None
    of: str | None = None

    def __post_init__(self) -> None:
        """Raise ValueError if the measure is unknown."""
        if self.measure not in MEASURES:
            raise ValueError(f"measure is {self.measure!r}, allowed: {', '.join(MEASURES)}")


@dataclass(frozen=True)
class Verdict:
    """Verdict on a claim, with the main ratios of the two models, whether they are claimed or not.

    Attributes:
        verdict: PASS, FAIL or INCONCLUSIVE; None if nothing is claimed.
        bounds: bounds of the claim, with their verdicts.
        judged, reference: names of the two models.
        retention, retention_ci: accuracy / accuracy of the reference, and its interval; None if not measured.
        compute_ratio: MACs / MACs of the reference; None if unknown.
        params_ratio: parameters / parameters of the reference; None if unknown.
    """

    verdict: VerdictName | None
    bounds: tuple[Judged, ...] = ()
    judged: str = "student"
    reference: str = "teacher"
    retention: float | None = None
    retention_ci: Interval | None = None
    compute_ratio: float | None = None
    params_ratio: float | None = None

    @property
    def images_needed(self) -> int | None:
        """Number of test images that would decide an undecided claim: the maximum over its bounds.

        None if a value is exactly at its limit, since no number of images decides that.
        """
        undecided = [part for part in self.bounds if part.verdict == "INCONCLUSIVE" and part.of == IMAGES]
        needed = [part.needed for part in undecided if part.needed is not None]
        decides = self.verdict == "INCONCLUSIVE" and len(needed) == len(undecided)
        return max(needed, default=None) if decides else None

    def to_json(self) -> dict[str, Any]:
        """Return the fields, and the keys of the first schema that follow from the fields."""
        limits = {(part.measure, part.at_least): part.limit for part in self.bounds}
        return asdict(self) | {
            "thresholds": {
                "min_retention": limits.get((RETENTION, True)),
                "max_compute": limits.get((COMPUTE, False)),
                "confidence": CONFIDENCE,
            },
            "images_needed": self.images_needed,
        }


def usual_claim(min_retention: float, max_compute: float) -> tuple[Bound, ...]:
    """Bounds of the usual claim: a minimum of the retention and a maximum of the compute ratio."""
    return Bound(RETENTION, True, min_retention), Bound(COMPUTE, False, max_compute)


def parse_claim(text: str) -> tuple[Bound, ...]:
    """Parse a claim such as `macs<=0.5,retention>=0.94`.

    Raises:
        UsageError: a bound or its measure is wrong, or a measure has two limits on the same side.
    """
    bounds: list[Bound] = []
    for part in text.split(","):
        match = BOUND.fullmatch(part)
        if match is None or match[1] not in MEASURES:
            raise UsageError(
                f"claim: {part.strip()!r} is not a bound; allowed is MEASURE>=NUMBER or MEASURE<=NUMBER with "
                f"one of the measures {', '.join(MEASURES)}.",
                f"Example: {assigned({'bench.claim': 'macs<=0.5,retention>=0.94'})}",
            )
        bound = Bound(match[1], match[2] in (">=", "≥"), float(match[3]))
        if any((known.measure, known.at_least) == (bound.measure, bound.at_least) for known in bounds):
            raise UsageError(
                f"claim: {bound.measure} has two limits on the same side.", "Leave out the weaker limit."
            )
        bounds.append(bound)
    return tuple(bounds)


def judge(
    bounds: Sequence[Bound],
    judged: Side | None,
    reference: Side | None,
    resampling: Resampling,
    names: tuple[str, str] = ("student", "teacher"),
) -> Verdict:
    """Judge a claim: PASS if every bound passes, FAIL if a bound fails, otherwise INCONCLUSIVE.

    Without bounds there is no verdict, and the two models are compared.

    A bound passes if the whole interval is on the claimed side of the limit, and fails if the whole interval
    is on the other side.

    Args:
        judged, reference: measurements of the two models; None if the model was not measured.
        names: names of the two models.
    """
    parts = tuple(_judge(bound, judged, reference, resampling) for bound in bounds)
    outcomes = {part.verdict for part in parts}
    verdict: VerdictName | None = "PASS" if parts else None
    if outcomes - {"PASS"}:
        verdict = "FAIL" if "FAIL" in outcomes else "INCONCLUSIVE"
    retention, compute, params = (
        MEASURES[name].estimate(judged, reference, resampling) for name in (RETENTION, COMPUTE, PARAMETERS)
    )
    interval = retention.interval if isinstance(retention, Estimate) else None
    return Verdict(verdict, parts, *names, _value(retention), interval, _value(compute), _value(params))


def samples_needed(value: float, interval: Interval, limit: float, n: int, fixed: float = 0.0) -> int | None:
    """Number of samples at which the interval would no longer contain the limit.

    The distance d of an end of the interval from the estimate has a part that shrinks as 1/√n and a part f
    that does not, d² = (d² − f²) + f². With the gap g between estimate and limit,
    n' = n (d² − f²) / (g² − f²). The formula assumes that the estimate does not change.

    Args:
        fixed: f, the part that further samples do not narrow.

    Returns:
        n', or None if no number of samples decides: the estimate is at the limit, or closer to it than f.
    """
    end = interval[0] if value > limit else interval[1]
    gap, distance = (value - limit) ** 2 - fixed**2, (end - value) ** 2 - fixed**2
    return max(n + 1, math.ceil(n * distance / gap)) if gap > 0 else None


def _judge(bound: Bound, judged: Side | None, reference: Side | None, resampling: Resampling) -> Judged:
    measured = MEASURES[bound.measure].estimate(judged, reference, resampling)
    part = Judged(bound.measure, bound.at_least, bound.limit, "INCONCLUSIVE")
    if measured is None:
        return part
    limit = Fraction(str(bound.limit))  # an exact ratio of integers is compared exactly
    interval = (measured, measured) if isinstance(measured, Fraction) else measured.interval
    if interval is None:
        return replace(part, value=_value(measured))
    low, high = interval
    inside, outside = (low >= limit, high < limit) if bound.at_least else (high <= limit, low > limit)
    verdict: VerdictName = "PASS" if inside else "FAIL" if outside else "INCONCLUSIVE"
    part = replace(part, verdict=verdict, value=_value(measured))
    if isinstance(measured, Fraction):
        return part
    needed = None
    if verdict == "INCONCLUSIVE" and measured.interval:
        needed = samples_needed(measured.value, measured.interval, bound.limit, measured.n, measured.fixed)
    return replace(part, interval=measured.interval, needed=needed, of=measured.of)


def _value(measured: MeasuredValue) -> float | None:
    return measured.value if isinstance(measured, Estimate) else None if measured is None else float(measured)
