"""The verdict in words: what was claimed, what was measured, what follows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Wording:
    """`name` is PASS, FAIL, INCONCLUSIVE, or NONE where nothing was judged."""

    name: str
    headline: str
    sentences: tuple[str, ...]


NOT_JUDGED = Wording(
    "NONE",
    "Nothing was judged.",
    (
        "The claim compares a teacher with its student on the same test images; "
        "this run has no such measurement yet.",
    ),
)


def in_words(claim: Mapping[str, Any] | None) -> Wording:
    """Put the `claim` of bench.json (a `kdtool.core.statistics.Verdict`) into sentences.

    Raises:
        KeyError, TypeError, ValueError: it is not one.
    """
    if not claim:
        return NOT_JUDGED
    name = str(claim["verdict"])
    headline, meaning = _MEANINGS[name]
    return Wording(name, headline, (_claimed(claim), *_measured(claim), meaning(claim)))


def _claimed(claim: Mapping[str, Any]) -> str:
    least, most = claim["thresholds"]["min_retention"], claim["thresholds"]["max_compute"]
    return (
        f"Claimed: at least {_percent(least)} of the teacher’s accuracy "
        f"for at most {_percent(most)} of its compute."
    )


def _measured(claim: Mapping[str, Any]) -> tuple[str, ...]:
    parts = []
    if claim["retention"] is not None:
        low, high = claim["retention_ci"]
        parts.append(
            f"the student keeps {_percent(claim['retention'])} of the teacher’s accuracy "
            f"(95 % interval {_percent(low)} to {_percent(high)})"
        )
    if claim["compute_ratio"] is not None:
        parts.append(f"it takes {_percent(claim['compute_ratio'])} of the teacher’s multiply–accumulates")
    if claim["params_ratio"] is not None:
        parts.append(f"and has {_percent(claim['params_ratio'])} of its parameters")
    return (f"Measured: {'; '.join(parts)}.",) if parts else ()


def _passed(claim: Mapping[str, Any]) -> str:
    return (
        f"Even the lower end of the interval, {_percent(claim['retention_ci'][0])}, reaches "
        f"{_percent(claim['thresholds']['min_retention'])}, and the compute is within its limit: chance in "
        "the choice of test images is no likely explanation."
    )


def _failed(claim: Mapping[str, Any]) -> str:
    least, most = claim["thresholds"]["min_retention"], claim["thresholds"]["max_compute"]
    reasons = []
    if claim["retention_ci"] is not None and claim["retention_ci"][1] < least:
        reasons.append(
            f"even the upper end of the interval, {_percent(claim['retention_ci'][1])}, "
            f"is under {_percent(least)}"
        )
    if claim["compute_ratio"] is not None and claim["compute_ratio"] > most:
        reasons.append(f"the compute, {_percent(claim['compute_ratio'])}, is over {_percent(most)}")
    text = "; ".join(reasons)
    return f"{text[:1].upper()}{text[1:]}."


def _undecided(claim: Mapping[str, Any]) -> str:
    if claim["retention"] is None:
        return "The accuracy of both models on the same test images was not measured."
    if claim["compute_ratio"] is None:
        return "The compute of the two models is not known."
    low, high = claim["retention_ci"]
    contains = (
        f"The interval from {_percent(low)} to {_percent(high)} contains the limit of "
        f"{_percent(claim['thresholds']['min_retention'])}: the student may be on either side of it."
    )
    needed = claim.get("images_needed")
    if needed is None:
        return f"{contains} Retention lies on the limit itself: more test images would not decide it."
    return f"{contains} About {needed:,} test images would decide it, if retention stays where it is."


_MEANINGS = {
    "PASS": ("The claim holds.", _passed),
    "FAIL": ("The claim does not hold.", _failed),
    "INCONCLUSIVE": ("It cannot be decided yet.", _undecided),
}


def _percent(share: float) -> str:
    """A share as a percentage, one decimal where it has one."""
    return f"{share * 100:.1f}".removesuffix(".0") + "\u00a0%"
