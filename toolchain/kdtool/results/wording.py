"""The claim in words: what was claimed, what was measured, what follows. Terminal and report say the same."""

from __future__ import annotations

from collections.abc import Sequence

from kdtool.results.bench import BenchResult, Gain
from kdtool.results.claim import COMPUTE, PARAMETERS, RETENTION, Judged, Verdict
from kdtool.results.figures import short
from kdtool.results.measures import IMAGES, MEASURES
from kdtool.results.statistics import CONFIDENCE, Interval

SIGNIFICANT = 0.05
HEADLINES = {
    "PASS": "The claim holds.",
    "FAIL": "The claim does not hold.",
    "INCONCLUSIVE": "The claim cannot be decided yet.",
}
ROLES = ("teacher", "student", "baseline")  # names that are nouns


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
        _phrase(claim, bound.measure, f"{'at least' if bound.at_least else 'at most'} {_limit(bound)}")
        for bound in claim.bounds
    ]
    who = "" if claim.judged == "student" else f" for {claim.judged}"
    return f"Claimed{who}: {_listed(parts)}."


def _measured(claim: Verdict) -> tuple[str, ...]:
    """Retention, compute and parameters of the judged model, claimed or not, and whatever else is claimed."""
    found: list[tuple[str, float | None, Interval | None]] = [
        (RETENTION, claim.retention, claim.retention_ci),
        (COMPUTE, claim.compute_ratio, None),
        (PARAMETERS, claim.params_ratio, None),
    ]
    known = {measure for measure, _, _ in found}
    others = {bound.measure: bound for bound in claim.bounds if bound.measure not in known}
    found += [(bound.measure, bound.value, bound.interval) for bound in others.values()]
    confident = f"{_percent(CONFIDENCE)} interval"
    parts = [
        _phrase(claim, measure, _amount(measure, value))
        + (f" ({confident} {_amount(measure, *interval)})" if interval else "")
        for measure, value, interval in found
        if value is not None
    ]
    return (f"Measured: {_called(claim.judged)} has {_listed(parts)}.",) if parts else ()


def _where(result: BenchResult) -> tuple[str, ...]:
    """Times are those of one machine, and of one kind of 8-bit arithmetic."""
    claim, host = result.claim, result.host
    if not any(MEASURES[bound.measure].timed and bound.value is not None for bound in claim.bounds):
        return ()
    foreign = [
        f"{model.name} was made for {model.target}, where its times are different."
        for model in (result.model(name) for name in dict.fromkeys((claim.judged, claim.reference)))
        if model is not None and model.target not in (None, host.int8_target)
    ]
    return (" ".join([f"Times are those of {host}.", *foreign]),)


def _passed(claim: Verdict) -> str:
    reasons = _sentence("; ".join(_decided(claim, bound) for bound in claim.bounds))
    sampled = any(bound.interval for bound in claim.bounds)
    return f"{reasons} Chance is no likely explanation." if sampled else reasons


def _failed(claim: Verdict) -> str:
    failed = [bound for bound in claim.bounds if bound.verdict == "FAIL" and bound.value is not None]
    return _sentence("; ".join(_decided(claim, bound) for bound in failed))


def _decided(claim: Verdict, bound: Judged) -> str:
    """On which side of its limit a measure lies with its whole interval."""
    noun, passed = _noun(claim, bound), bound.verdict == "PASS"
    relation = (
        ("at least" if bound.at_least else "at most") if passed else "under" if bound.at_least else "over"
    )
    end = 0 if passed == bound.at_least else 1  # of the interval, which decides
    value = bound.interval[end] if bound.interval else bound.value
    shown, limit = "unknown" if value is None else _amount(bound.measure, value), _limit(bound)
    closely = ", by less than these digits show" if shown == limit and not passed else ""
    if bound.interval is None:
        return f"{noun}, {shown}, is {relation} {limit}{closely}"
    side = ("lower", "upper")[end]
    return f"even at the {side} end of its interval, {shown}, {noun} is {relation} {limit}{closely}"


def _undecided(claim: Verdict) -> str:
    return " ".join(_open(claim, bound) for bound in claim.bounds if bound.verdict == "INCONCLUSIVE")


def _open(claim: Verdict, bound: Judged) -> str:
    """What would decide a bound."""
    noun = _noun(claim, bound)
    if bound.interval is None:
        wants = MEASURES[bound.measure].wants.format(reference=_called(claim.reference))
        return _sentence(f"{noun} is not known: measuring it takes {wants}")
    of = bound.of or IMAGES
    contains = (
        f"The interval of {noun}, {_amount(bound.measure, *bound.interval)}, contains the limit of "
        f"{_limit(bound)}: {_called(claim.judged)} may be on either side of it."
    )
    if bound.needed is None:
        rest = f"{noun} lies on the limit itself: more {of} would not decide it"
    else:
        rest = f"about {bound.needed:,} {of} would decide it, if {noun} stays where it is"
    return f"{contains} {_sentence(rest)}"


def _gained(gain: Gain | None) -> str:
    if gain is None:
        return "What the teacher added is not known: there is no student trained without it. Use --baseline."
    certainty = (
        "which chance alone would hardly give" if gain.p < SIGNIFICANT else "which chance may have given"
    )
    return (
        "Against the same student trained without a teacher, accuracy differs by "
        f"{gain.points:+.1f} percentage points, "
        f"{certainty} (alone right on {gain.student_only} and {gain.baseline_only} images; "
        f"McNemar p = {gain.p:.2g})."
    )


def _noun(claim: Verdict, bound: Judged) -> str:
    return f"the {MEASURES[bound.measure].noun.format(own=_possessive(claim))}"


def _phrase(claim: Verdict, measure: str, amount: str) -> str:
    return MEASURES[measure].phrase.format(amount=amount, own=_possessive(claim))


def _possessive(claim: Verdict) -> str:
    """Whose accuracy and compute the judged model's are held against."""
    return f"{_called(claim.reference)}’s"


def _called(model: str) -> str:
    return f"the {model}" if model in ROLES else model


def _listed(parts: Sequence[str]) -> str:
    return " and ".join(parts) if len(parts) < 3 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _limit(bound: Judged) -> str:
    return _amount(bound.measure, bound.limit)


def _amount(measure: str, *ends: float) -> str:
    """A value, or a range from one to another, in the unit of the measure."""
    unit = MEASURES[measure].unit
    if unit == "share":
        return " to ".join(map(_percent, ends))
    numbers = " to ".join(map(short, ends))
    if unit == "points":
        return f"{numbers} percentage point{'' if numbers in ('1', '-1') else 's'}"
    return f"{numbers} {unit}"


def _percent(share: float) -> str:
    """A share as a percentage, one decimal where it has one."""
    return f"{share * 100:.1f}".removesuffix(".0") + " %"
