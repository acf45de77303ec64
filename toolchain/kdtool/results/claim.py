"""The claim: bounds on measures, such as `macs<=0.5,retention>=0.94`, and the verdict on them.

All bounds must hold at once. Each is tested at the full confidence: a claim that passes only where every
part passes is an intersection–union test, which needs no correction for the number of parts
(R. L. Berger, Technometrics 24 (1982) 295).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from kdtool.core.errors import UsageError
from kdtool.results.measures import MEASURES, Estimate, Resampling, Side
from kdtool.results.statistics import CONFIDENCE, Interval

Outcome = Literal["PASS", "FAIL", "INCONCLUSIVE"]
RETENTION, COMPUTE, PARAMETERS = "retention", "macs", "params"
BOUND = re.compile(r"\s*([a-z][a-z0-9_]*)\s*(<=|>=|≤|≥)\s*([0-9]+(?:\.[0-9]+)?)\s*")


@dataclass(frozen=True)
class Bound:
    """A limit on a measure of `kdtool.results.measures.MEASURES`."""

    measure: str
    at_least: bool
    limit: float

    def __str__(self) -> str:
        return f"{self.measure}{'>=' if self.at_least else '<='}{self.limit:g}"


@dataclass(frozen=True)
class Thresholds:
    """The limits of the usual claim: retention at least, compute at most; None where it is not claimed.

    `confidence` is that of every interval, two-sided.
    """

    min_retention: float | None = 0.94
    max_compute: float | None = 0.50
    confidence: float = CONFIDENCE


@dataclass(frozen=True)
class Judged:
    """One bound of the claim and what became of it.

    Attributes:
        value, interval: of the measure; None where it was not measured, the interval also where it is exact.
        needed: samples (`of` says of what) that would decide it, where more of them would; else None.
    """

    measure: str
    at_least: bool
    limit: float
    verdict: Outcome
    value: float | None = None
    interval: Interval | None = None
    needed: int | None = None
    of: str | None = None

    def __post_init__(self) -> None:
        """Raises ValueError where the measure is none that we know."""
        if self.measure not in MEASURES:
            raise ValueError(f"measure is {self.measure!r}, allowed: {', '.join(MEASURES)}")


@dataclass(frozen=True)
class Verdict:
    """Whether the claim holds.

    Attributes:
        retention, retention_ci: student's accuracy / teacher's, and its interval; None if not measured.
        compute_ratio: student's MACs / teacher's; None if not known.
        params_ratio: the same of parameters, for information.
        images_needed: test images that would decide it, where more images would; else None.
        bounds: the parts of the claim.
        judged, reference: names of the models.
    """

    verdict: Outcome
    retention: float | None
    retention_ci: Interval | None
    compute_ratio: float | None
    params_ratio: float | None
    thresholds: Thresholds
    images_needed: int | None = None
    bounds: tuple[Judged, ...] = ()
    judged: str = "student"
    reference: str = "teacher"


def usual_claim(min_retention: float, max_compute: float) -> tuple[Bound, ...]:
    """This much of the accuracy at that much of the compute."""
    return Bound(RETENTION, True, min_retention), Bound(COMPUTE, False, max_compute)


def parse_claim(text: str) -> tuple[Bound, ...]:
    """`macs<=0.5,retention>=0.94` as bounds.

    Raises:
        UsageError: no such bound or measure, or one claimed twice on the same side.
    """
    bounds: list[Bound] = []
    for part in text.split(","):
        match = BOUND.fullmatch(part)
        if match is None or match[1] not in MEASURES:
            raise UsageError(
                f"claim: {part.strip()!r} is no bound; allowed is MEASURE>=NUMBER or MEASURE<=NUMBER with "
                f"a measure of {', '.join(MEASURES)}.",
                'For instance: --claim "macs<=0.5,retention>=0.94"',
            )
        bound = Bound(match[1], match[2] in (">=", "≥"), float(match[3]))
        if any((known.measure, known.at_least) == (bound.measure, bound.at_least) for known in bounds):
            raise UsageError(
                f"claim: {bound.measure} has two limits on one side.", "Leave out the one that asks less."
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
    """The verdict on a claim: PASS if every bound passes, FAIL if one fails, else INCONCLUSIVE.

    A bound passes where the whole interval is on its side, and fails where the whole is on the other.

    Args:
        judged, reference: what is known of the two models; None where one of them is not there.
    """
    parts = tuple(_judge(bound, judged, reference, resampling) for bound in bounds)
    outcomes = {part.verdict for part in parts}
    verdict: Outcome = "PASS"
    if outcomes != {"PASS"}:
        verdict = "FAIL" if "FAIL" in outcomes else "INCONCLUSIVE"
    retention, compute, params = (
        MEASURES[name].estimate(judged, reference, resampling) for name in (RETENTION, COMPUTE, PARAMETERS)
    )
    return Verdict(
        verdict=verdict,
        retention=_float(retention),
        retention_ci=retention.interval if retention else None,
        compute_ratio=_float(compute),
        params_ratio=_float(params),
        thresholds=Thresholds(
            _limit(bounds, RETENTION, at_least=True),
            _limit(bounds, COMPUTE, at_least=False),
            resampling.confidence,
        ),
        images_needed=_images_needed(parts) if verdict == "INCONCLUSIVE" else None,
        bounds=parts,
        judged=names[0],
        reference=names[1],
    )


def samples_needed(value: float, interval: Interval, limit: float, n: int) -> int | None:
    """Samples at which the end of the interval between the estimate and the limit would just reach it.

    An end's distance from the estimate shrinks as 1/√n: n' = n (distance / gap)². It supposes that the
    estimate stays where it is. None where it lies on the limit: no number of samples decides that.
    """
    if value == limit:
        return None
    end = interval[0] if value > limit else interval[1]
    return max(n + 1, math.ceil(n * ((end - value) / (value - limit)) ** 2))


def _judge(bound: Bound, judged: Side | None, reference: Side | None, resampling: Resampling) -> Judged:
    found = MEASURES[bound.measure].estimate(judged, reference, resampling)
    if found is None:
        return Judged(bound.measure, bound.at_least, bound.limit, "INCONCLUSIVE")
    limit = Fraction(str(bound.limit))  # an exact ratio of integers is compared exactly
    low, high = found.interval or (found.value, found.value)
    inside, outside = (low >= limit, high < limit) if bound.at_least else (high <= limit, low > limit)
    verdict: Outcome = "PASS" if inside else "FAIL" if outside else "INCONCLUSIVE"
    needed = None
    if verdict == "INCONCLUSIVE" and found.interval is not None:
        needed = samples_needed(float(found.value), found.interval, bound.limit, found.n)
    return Judged(
        bound.measure, bound.at_least, bound.limit, verdict, _float(found), found.interval, needed, found.of
    )


def _images_needed(parts: Sequence[Judged]) -> int | None:
    """The most that an undecided bound on accuracy wants; None where one of them lies on its limit."""
    wanted = [part.needed for part in parts if part.verdict == "INCONCLUSIVE" and part.of == "test images"]
    known = [needed for needed in wanted if needed is not None]
    return max(known) if known and len(known) == len(wanted) else None


def _float(found: Estimate | None) -> float | None:
    return None if found is None else float(found.value)


def _limit(bounds: Sequence[Bound], measure: str, *, at_least: bool) -> float | None:
    matching = (bound.limit for bound in bounds if (bound.measure, bound.at_least) == (measure, at_least))
    return next(matching, None)
