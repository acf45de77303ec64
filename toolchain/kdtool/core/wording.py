"""The claim in words: what was claimed, what was measured, what follows. Terminal and report say the same."""

from __future__ import annotations

from kdtool.core.benchresult import BenchResult, Gain
from kdtool.core.statistics import Verdict

SIGNIFICANT = 0.05
HEADLINES = {
    "PASS": "The claim holds.",
    "FAIL": "The claim does not hold.",
    "INCONCLUSIVE": "It cannot be decided yet.",
}


def result_in_words(result: BenchResult) -> tuple[str, ...]:
    """Sentences: the claim, its figures, why the verdict is what it is, and what the teacher was good for."""
    claim = result.claim
    meaning = {"PASS": _passed, "FAIL": _failed, "INCONCLUSIVE": _undecided}[claim.verdict](claim)
    gained = () if result.model("student") is None else (_gained(result.gain),)
    return _claimed(claim), *_measured(claim), meaning, *gained


def _claimed(claim: Verdict) -> str:
    least, most = claim.thresholds.min_retention, claim.thresholds.max_compute
    return (
        f"Claimed: at least {_percent(least)} of the teacher’s accuracy "
        f"for at most {_percent(most)} of its compute."
    )


def _measured(claim: Verdict) -> tuple[str, ...]:
    parts = []
    if claim.retention is not None and claim.retention_ci is not None:
        low, high = claim.retention_ci
        parts.append(
            f"the student keeps {_percent(claim.retention)} of the teacher’s accuracy "
            f"({_percent(claim.thresholds.confidence)} interval {_percent(low)} to {_percent(high)})"
        )
    if claim.compute_ratio is not None:
        parts.append(f"it takes {_percent(claim.compute_ratio)} of the teacher’s multiply–accumulates")
    if claim.params_ratio is not None:
        parts.append(f"it has {_percent(claim.params_ratio)} of its parameters")
    return (f"Measured: {'; '.join(parts)}.",) if parts else ()


def _passed(claim: Verdict) -> str:
    return (
        f"Even the lower end of the interval reaches {_percent(claim.thresholds.min_retention)}, and the "
        "compute is within its limit: chance in the choice of test images is no likely explanation."
    )


def _failed(claim: Verdict) -> str:
    least, most = claim.thresholds.min_retention, claim.thresholds.max_compute
    reasons = []
    if claim.retention_ci is not None and claim.retention_ci[1] < least:
        reasons.append(
            f"even the upper end of the interval, {_percent(claim.retention_ci[1])}, "
            f"is under {_percent(least)}"
        )
    if claim.compute_ratio is not None and (claim.compute_ratio > most or not reasons):
        reasons.append(f"the compute, {_percent(claim.compute_ratio)}, is over {_percent(most)}")
    text = "; ".join(reasons)
    return f"{text[:1].upper()}{text[1:]}."


def _undecided(claim: Verdict) -> str:
    if claim.retention_ci is None:
        return (
            "There is no retention to judge: it takes a teacher and a student measured on the same test "
            "images, and a teacher that is right on some of them."
        )
    if claim.compute_ratio is None:
        return "The compute of the two models is not known."
    low, high = claim.retention_ci
    contains = (
        f"The interval from {_percent(low)} to {_percent(high)} contains the limit of "
        f"{_percent(claim.thresholds.min_retention)}: the student may be on either side of it."
    )
    if claim.images_needed is None:
        return f"{contains} Retention lies on the limit itself: more test images would not decide it."
    needed = f"About {claim.images_needed:,} test images would decide it, if retention stays where it is."
    return f"{contains} {needed}"


def _gained(gain: Gain | None) -> str:
    if gain is None:
        return "What the teacher added is not known: there is no student trained without it. Use --baseline."
    certainty = (
        "which chance alone would hardly give" if gain.p < SIGNIFICANT else "which chance may have given"
    )
    return (
        f"Against the same student trained without a teacher, accuracy differs by {gain.points:+.1f} points, "
        f"{certainty} (alone right on {gain.student_only} and {gain.baseline_only} images; "
        f"McNemar p = {gain.p:.2g})."
    )


def _percent(share: float) -> str:
    """A share as a percentage, one decimal where it has one."""
    return f"{share * 100:.1f}".removesuffix(".0") + " %"
