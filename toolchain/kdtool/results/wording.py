"""The claim in words: what was claimed, what was measured, what follows. Terminal and report say the same."""

from __future__ import annotations

from collections.abc import Sequence

from kdtool.results.bench import BenchResult, Gain
from kdtool.results.claim import COMPUTE, RETENTION, Judged, Verdict
from kdtool.results.measures import IMAGES, MEASURES

SIGNIFICANT = 0.05
HEADLINES = {
    "PASS": "The claim holds.",
    "FAIL": "The claim does not hold.",
    "INCONCLUSIVE": "It cannot be decided yet.",
}
# what a bound without a value lacks; the others lack the models
MISSING = {
    RETENTION: "There is no retention to judge: it takes {both} measured on the same test images, and a "
    "{reference} that is right on some of them.",
    COMPUTE: "The compute of the two models is not known.",
    "p99_ms": "There is no {measure} to judge: it takes 662 samples (kdtool bench --runs 662) that count.",
}


def result_in_words(result: BenchResult) -> tuple[str, ...]:
    """Sentences: the claim, its figures, why the verdict is what it is, and what the teacher was good for."""
    claim = result.claim
    meaning = {"PASS": _passed, "FAIL": _failed, "INCONCLUSIVE": _undecided}[claim.verdict](claim)
    gained = () if result.model("student") is None else (_gained(result.gain),)
    return _claimed(claim), *_measured(claim), *_where(result), meaning, *gained


def finetuned_in_words(int8: str, float_model: str, finetuned: str) -> str:
    """That an INT8 model and its float one differ by more than 8 bits.

    Args:
        int8, float_model: what the reader knows them by.
        finetuned: for how long, as the file says.
    """
    return (
        f"{int8} was fine-tuned for INT8 ({finetuned}) and {float_model} was not: what they answer otherwise "
        "comes of that training and of 8 bits together."
    )


def _claimed(claim: Verdict) -> str:
    parts = [
        f"{'at least' if bound.at_least else 'at most'} {_limit(bound)} {_said(claim, bound)}"
        for bound in claim.bounds
    ]
    who = "" if claim.judged == "student" else f" for {claim.judged}"
    return f"Claimed{who}: {_listed(parts)}."


def _measured(claim: Verdict) -> tuple[str, ...]:
    parts = []
    if claim.retention is not None and claim.retention_ci is not None:
        low, high = claim.retention_ci
        parts.append(
            f"the {claim.judged} keeps {_percent(claim.retention)} of {_owner(claim)} accuracy "
            f"({_percent(claim.thresholds.confidence)} interval {_percent(low)} to {_percent(high)})"
        )
    if claim.compute_ratio is not None:
        parts.append(f"it takes {_percent(claim.compute_ratio)} of {_owner(claim)} multiply–accumulates")
    if claim.params_ratio is not None:
        parts.append(f"it has {_percent(claim.params_ratio)} of its parameters")
    parts += [
        f"{MEASURES[bound.measure].about} is {_amount(bound.measure, bound.value)}{_between(bound)}"
        for bound in claim.bounds
        if bound.measure not in (RETENTION, COMPUTE, "params") and bound.value is not None
    ]
    return (f"Measured: {'; '.join(parts)}.",) if parts else ()


def _where(result: BenchResult) -> tuple[str, ...]:
    """Times are those of one machine, and of one kind of 8-bit arithmetic."""
    claim, host = result.claim, result.host
    if not any(MEASURES[bound.measure].timed and bound.value is not None for bound in claim.bounds):
        return ()
    foreign = [
        f"{model.name} was made for {model.target}, where its times are others."
        for model in (result.model(name) for name in dict.fromkeys((claim.judged, claim.reference)))
        if model is not None and model.target not in (None, host.int8_target)
    ]
    return (" ".join([f"Times are those of {host}.", *foreign]),)


def _between(bound: Judged) -> str:
    if bound.interval is None:
        return ""
    low, high = (_amount(bound.measure, end) for end in bound.interval)
    return f" ({low} to {high})"


def _passed(claim: Verdict) -> str:
    ends = [
        f"the {'lower' if bound.at_least else 'upper'} end of the interval "
        f"{'reaches' if bound.at_least else 'stays within'} {_limit(bound)}"
        for bound in claim.bounds
        if bound.interval is not None
    ]
    if not ends:
        return "Every bound is exact, and kept."
    exact = any(bound.interval is None for bound in claim.bounds)
    rest = ", and what is exact is within its limit" if exact else ""
    return f"Even {_listed(ends)}{rest}: chance is no likely explanation."


def _failed(claim: Verdict) -> str:
    reasons = []
    for bound in claim.bounds:
        if bound.verdict != "FAIL" or bound.value is None:
            continue
        where = "under" if bound.at_least else "over"
        limit = _limit(bound)
        if bound.interval is None:
            named = "compute" if bound.measure == COMPUTE else MEASURES[bound.measure].about
            reasons.append(f"the {named}, {_amount(bound.measure, bound.value)}, is {where} {limit}")
        else:
            end = bound.interval[1 if bound.at_least else 0]
            side = "upper" if bound.at_least else "lower"
            what = "" if bound.measure == RETENTION else f" of {MEASURES[bound.measure].about}"
            reasons.append(
                f"even the {side} end of the interval{what}, "
                f"{_amount(bound.measure, end)}, is {where} {limit}"
            )
    text = "; ".join(reasons)
    return f"{text[:1].upper()}{text[1:]}."


def _undecided(claim: Verdict) -> str:
    return " ".join(_open(claim, bound) for bound in claim.bounds if bound.verdict == "INCONCLUSIVE")


def _open(claim: Verdict, bound: Judged) -> str:
    limit = _limit(bound)
    if bound.value is None:
        both = f"a {claim.reference} and a {claim.judged}"
        text = MISSING.get(bound.measure, "There is no {measure} to judge: it was not measured.")
        return text.format(both=both, reference=claim.reference, measure=MEASURES[bound.measure].about)
    assert bound.interval is not None  # what is exact is decided
    low, high = (_amount(bound.measure, end) for end in bound.interval)
    what = "" if bound.measure == RETENTION else f" of {MEASURES[bound.measure].about}"
    contains = (
        f"The interval{what} from {low} to {high} contains the limit of {limit}: "
        f"the {claim.judged} may be on either side of it."
    )
    named = "retention" if bound.measure == RETENTION else "the measure"
    of = bound.of or IMAGES
    if bound.needed is None:
        return f"{contains} {named.capitalize()} lies on the limit itself: more {of} would not decide it."
    return f"{contains} About {bound.needed:,} {of} would decide it, if {named} stays where it is."


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


def _said(claim: Verdict, bound: Judged) -> str:
    return MEASURES[bound.measure].said.format(reference=_owner(claim))


def _owner(claim: Verdict) -> str:
    """Whose accuracy and compute the judged model's are held against."""
    return "the teacher’s" if claim.reference == "teacher" else f"{claim.reference}’s"


def _listed(parts: Sequence[str]) -> str:
    return " and ".join(parts) if len(parts) < 3 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _limit(bound: Judged) -> str:
    return _amount(bound.measure, bound.limit)


def _amount(measure: str, value: float) -> str:
    """A value in the unit of its measure."""
    unit = MEASURES[measure].unit
    return _percent(value) if unit == "share" else f"{value:.3g} {unit}"


def _percent(share: float) -> str:
    """A share as a percentage, one decimal where it has one."""
    return f"{share * 100:.1f}".removesuffix(".0") + " %"
