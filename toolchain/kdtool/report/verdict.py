"""The verdict in words: what was claimed, what was measured, what follows."""

from __future__ import annotations

from dataclasses import dataclass

from kdtool.report.measured import Claim, Gain


@dataclass(frozen=True)
class Wording:
    """`name` is PASS, FAIL, INCONCLUSIVE, or NONE where nothing was judged."""

    name: str
    headline: str
    sentences: tuple[str, ...]


SIGNIFICANT = 0.05
NOT_JUDGED = Wording(
    "NONE",
    "Nothing was judged.",
    (
        "The claim compares a teacher with its student on the same test images; "
        "this run has no such measurement yet.",
    ),
)


def in_words(claim: Claim | None, gain: Gain | None) -> Wording:
    """Put the claim of bench.json, and what the teacher was good for, into sentences."""
    if claim is None:
        return NOT_JUDGED
    headline, meaning = _MEANINGS[claim.verdict]
    return Wording(
        claim.verdict, headline, (_claimed(claim), *_measured(claim), meaning(claim), *_gained(gain))
    )


def _claimed(claim: Claim) -> str:
    least, most = claim.thresholds.min_retention, claim.thresholds.max_compute
    return (
        f"Claimed: at least {_percent(least)} of the teacher’s accuracy "
        f"for at most {_percent(most)} of its compute."
    )


def _measured(claim: Claim) -> tuple[str, ...]:
    parts = []
    if claim.retention is not None and claim.retention_ci is not None:
        low, high = claim.retention_ci
        parts.append(
            f"the student keeps {_percent(claim.retention)} of the teacher’s accuracy "
            f"(95 % interval {_percent(low)} to {_percent(high)})"
        )
    if claim.compute_ratio is not None:
        parts.append(f"it takes {_percent(claim.compute_ratio)} of the teacher’s multiply–accumulates")
    if claim.params_ratio is not None:
        parts.append(f"and has {_percent(claim.params_ratio)} of its parameters")
    return (f"Measured: {'; '.join(parts)}.",) if parts else ()


def _passed(claim: Claim) -> str:
    return (
        f"Even the lower end of the interval reaches {_percent(claim.thresholds.min_retention)}, and the "
        "compute is within its limit: chance in the choice of test images is no likely explanation."
    )


def _failed(claim: Claim) -> str:
    least, most = claim.thresholds.min_retention, claim.thresholds.max_compute
    reasons = []
    if claim.retention_ci is not None and claim.retention_ci[1] < least:
        reasons.append(
            f"even the upper end of the interval, {_percent(claim.retention_ci[1])}, "
            f"is under {_percent(least)}"
        )
    if claim.compute_ratio is not None and claim.compute_ratio > most:
        reasons.append(f"the compute, {_percent(claim.compute_ratio)}, is over {_percent(most)}")
    text = "; ".join(reasons)
    return f"{text[:1].upper()}{text[1:]}."


def _undecided(claim: Claim) -> str:
    if claim.retention_ci is None:
        return (
            "There is no retention to judge: the two models were not measured on the same test images, "
            "or the teacher is never right on them."
        )
    if claim.compute_ratio is None:
        return "The compute of the two models is not known."
    low, high = claim.retention_ci
    contains = (
        f"The interval from {_percent(low)} to {_percent(high)} contains the limit of "
        f"{_percent(claim.thresholds.min_retention)}: the student may be on either side of it."
    )
    needed = claim.images_needed
    if needed is None:
        return f"{contains} Retention lies on the limit itself: more test images would not decide it."
    return f"{contains} About {needed:,} test images would decide it, if retention stays where it is."


def _gained(gain: Gain | None) -> tuple[str, ...]:
    if gain is None:
        return ()
    certainty = (
        "which chance alone would hardly give" if gain.p < SIGNIFICANT else "which chance may have given"
    )
    return (
        f"Against the same student trained without a teacher, accuracy differs by {gain.points:+.1f} points, "
        f"{certainty} (McNemar p = {gain.p:.2g}).",
    )


_MEANINGS = {
    "PASS": ("The claim holds.", _passed),
    "FAIL": ("The claim does not hold.", _failed),
    "INCONCLUSIVE": ("It cannot be decided yet.", _undecided),
}


def _percent(share: float) -> str:
    """A share as a percentage, one decimal where it has one."""
    return f"{share * 100:.1f}".removesuffix(".0") + "\u00a0%"
