"""The claim: bounds on measures, such as `macs<=0.5,retention>=0.94`, and the verdict on them.

All bounds must hold at once. Each is tested at the full confidence: a claim that passes only where every
part passes is an intersection–union test, which needs no correction for the number of parts
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
from kdtool.results.measures import IMAGES, MEASURES, Found, Resampling, Side
from kdtool.results.statistics import CONFIDENCE, Estimate, Interval

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
        bounds: the parts of the claim.
        judged, reference: names of the models.
        retention, retention_ci: accuracy / the reference's, and its interval, whether or not it is claimed;
            None if not measured.
        compute_ratio, params_ratio: the same of MACs and parameters.
    """

    verdict: Outcome
    bounds: tuple[Judged, ...] = ()
    judged: str = "student"
    reference: str = "teacher"
    retention: float | None = None
    retention_ci: Interval | None = None
    compute_ratio: float | None = None
    params_ratio: float | None = None

    @property
    def images_needed(self) -> int | None:
        """Test images that would decide an undecided claim: the most that one of its bounds wants.

        None where one of them lies on its limit: no number of images decides that.
        """
        undecided = [part for part in self.bounds if part.verdict == "INCONCLUSIVE" and part.of == IMAGES]
        needed = [part.needed for part in undecided if part.needed is not None]
        decides = self.verdict == "INCONCLUSIVE" and len(needed) == len(undecided)
        return max(needed, default=None) if decides else None

    def to_json(self) -> dict[str, Any]:
        """Its fields, and the keys of the first version that follow from them."""
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
    interval = retention.interval if isinstance(retention, Estimate) else None
    return Verdict(verdict, parts, *names, _value(retention), interval, _value(compute), _value(params))


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
    part = Judged(bound.measure, bound.at_least, bound.limit, "INCONCLUSIVE")
    if found is None:
        return part
    limit = Fraction(str(bound.limit))  # an exact ratio of integers is compared exactly
    low, high = (found, found) if isinstance(found, Fraction) else found.interval
    inside, outside = (low >= limit, high < limit) if bound.at_least else (high <= limit, low > limit)
    verdict: Outcome = "PASS" if inside else "FAIL" if outside else "INCONCLUSIVE"
    part = replace(part, verdict=verdict, value=_value(found))
    if isinstance(found, Fraction):
        return part
    needed = None
    if verdict == "INCONCLUSIVE":
        needed = samples_needed(found.value, found.interval, bound.limit, found.n)
    return replace(part, interval=found.interval, needed=needed, of=found.of)


def _value(found: Found) -> float | None:
    return found.value if isinstance(found, Estimate) else None if found is None else float(found)
