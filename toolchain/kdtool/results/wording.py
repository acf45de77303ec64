"""Sentences about a claim: bounds, measured values and verdict, the same for terminal, report and bundle."""

from __future__ import annotations

from collections.abc import Sequence

from kdtool.results.bench import BenchResult, Gain
from kdtool.results.claim import COMPUTE, PARAMETERS, RETENTION, Judged, Verdict
from kdtool.results.figures import short
from kdtool.results.measures import IMAGES, MEASURES
from kdtool.results.statistics.estimate import CONFIDENCE, Interval

SIGNIFICANT = 0.05
HEADLINES = {
    "PASS": "The claim holds.",
    "FAIL": "The claim does not hold.",
    "INCONCLUSIVE": "The claim cannot be decided yet.",
}
ROLES = ("teacher", "student", "baseline")  # these names take an article


def result_in_words(result: BenchResult) -> tuple[str, ...]:
    """Sentences: the claim, the measured values, the reasons for the verdict, the gain from the teacher.

    If nothing is claimed, the measured values alone.
    """
    claim = result.claim
    if claim.verdict is None:
        return _measured(claim)
    reasons = {"PASS": _passed, "FAIL": _failed, "INCONCLUSIVE": _undecided}[claim.verdict](claim)
    gain = () if result.model("student") is None else (_gain(result.gain),)
    return _claimed(claim), *_measured(claim), *_machine(result), reasons, *gain


def finetuned_in_words(int8: str, float_model: str, finetuned: str) -> str:
    """Sentence which says that an INT8 model differs from its FP32 model by more than 8 bits.

    Args:
        int8, float_model: names of the two models in the sentence.
        finetuned: length of the fine-tuning, by the metadata of the file.
    """
    return (
        f"{int8} was fine-tuned for INT8 ({finetuned}) and {float_model} was not: their predictions differ "
        "because of the fine-tuning and of 8 bits together."
    )


def _claimed(claim: Verdict) -> str:
    parts = [
        _phrase(claim, bound.measure, f"{'at least' if bound.at_least else 'at most'} {_limit(bound)}")
        for bound in claim.bounds
    ]
    model = "" if claim.judged == "student" else f" for {claim.judged}"
    return f"Claimed{model}: {_listed(parts)}."


def _measured(claim: Verdict) -> tuple[str, ...]:
    """Sentence with retention, compute and parameters of the judged model, and all other claimed measures."""
    measured: list[tuple[str, float | None, Interval | None]] = [
        (RETENTION, claim.retention, claim.retention_ci),
        (COMPUTE, claim.compute_ratio, None),
        (PARAMETERS, claim.params_ratio, None),
    ]
    listed = {measure for measure, _, _ in measured}
    others = {bound.measure: bound for bound in claim.bounds if bound.measure not in listed}
    measured += [(bound.measure, bound.value, bound.interval) for bound in others.values()]
    confidence = _percent(CONFIDENCE)
    parts = [
        _value(claim, measure, value, f"{confidence} interval", interval)
        for measure, value, interval in measured
        if value is not None
    ]
    return (f"Measured: {_called(claim.judged)} has {_listed(parts)}.",) if parts else ()


def _value(claim: Verdict, measure: str, value: float, name: str, interval: Interval | None) -> str:
    """Phrase with a measured value and its interval, which is called `name`; a negative drop is a gain."""
    phrase = MEASURES[measure].phrase
    if value < 0 and MEASURES[measure].negative:
        phrase, value, name = MEASURES[measure].negative, -value, f"{name} of the {MEASURES[measure].noun}"
    text = phrase.format(amount=_amount(measure, value), possessive=_possessive(claim))
    return text + (f" ({name} {_amount(measure, *interval)})" if interval else "")


def _machine(result: BenchResult) -> tuple[str, ...]:
    """Sentence with the machine, since times are valid only for one machine and its 8-bit arithmetic."""
    claim, host = result.claim, result.host
    if not any(MEASURES[bound.measure].timed and bound.value is not None for bound in claim.bounds):
        return ()
    foreign = [
        f"{model.name} was made for {model.target}; its times are different there."
        for model in (result.model(name) for name in dict.fromkeys((claim.judged, claim.reference)))
        if model is not None and model.target not in (None, host.int8_target)
    ]
    return (" ".join([f"The times were measured on {host}.", *foreign]),)


def _passed(claim: Verdict) -> str:
    reasons = _sentence("; ".join(_decided(claim, bound) for bound in claim.bounds))
    sampled = any(bound.interval for bound in claim.bounds)
    return f"{reasons} Chance is an unlikely explanation." if sampled else reasons


def _failed(claim: Verdict) -> str:
    failed = [bound for bound in claim.bounds if bound.verdict == "FAIL" and bound.value is not None]
    return _sentence("; ".join(_decided(claim, bound) for bound in failed))


def _decided(claim: Verdict, bound: Judged) -> str:
    """Clause which says on which side of its limit the whole interval of a measure is."""
    noun, passed = _noun(claim, bound), bound.verdict == "PASS"
    relation = (
        ("at least" if bound.at_least else "at most") if passed else "under" if bound.at_least else "over"
    )
    end = 0 if passed == bound.at_least else 1  # index of the end of the interval that decides
    value = bound.interval[end] if bound.interval else bound.value
    shown, limit = "unknown" if value is None else _amount(bound.measure, value), _limit(bound)
    closely = ", by less than these digits show" if shown == limit and not passed else ""
    if bound.interval is None:
        return f"{noun}, {shown}, is {relation} {limit}{closely}"
    side = ("lower", "upper")[end]
    return f"even at the {side} end of its interval, {shown}, {noun} is {relation} {limit}{closely}"


def _undecided(claim: Verdict) -> str:
    return " ".join(
        _undecided_bound(claim, bound) for bound in claim.bounds if bound.verdict == "INCONCLUSIVE"
    )


def _undecided_bound(claim: Verdict, bound: Judged) -> str:
    """Sentences which say why a bound is not decided and which data would decide it."""
    noun = _noun(claim, bound)
    if bound.interval is None and bound.value is not None:
        return _sentence(
            f"{noun}, {_amount(bound.measure, bound.value)}, was measured in one session, which does not "
            "show how sessions differ; several decide: kdtool bench --sessions 5"
        )
    if bound.interval is None:
        needs = MEASURES[bound.measure].needs.format(reference=_called(claim.reference))
        return _sentence(f"{noun} is not known; its measurement needs {needs}")
    of = bound.of or IMAGES
    contains = (
        f"The interval of {noun}, {_amount(bound.measure, *bound.interval)}, contains the limit of "
        f"{_limit(bound)}: {_called(claim.judged)} may be on either side of the limit."
    )
    if bound.needed is None:
        rest = f"{noun} is too close to the limit: more {of} would not decide it"
    else:
        rest = f"about {bound.needed:,} {of} would decide it, if {noun} does not change"
    return f"{contains} {_sentence(rest)}"


def _gain(gain: Gain | None) -> str:
    if gain is None:
        return (
            "The gain from the teacher is not known, since no student was trained without a teacher. "
            "Train one with --baseline."
        )
    chance = (
        "Chance alone is an unlikely explanation"
        if gain.p < SIGNIFICANT
        else "Chance alone may explain the difference"
    )
    return (
        "Compared with the same student trained without a teacher, the accuracy differs by "
        f"{gain.points:+.1f} percentage points. {chance}: only the student is right on {gain.student_only} "
        f"images, only the other one on {gain.baseline_only} images (McNemar p = {gain.p:.2g})."
    )


def _noun(claim: Verdict, bound: Judged) -> str:
    return f"the {MEASURES[bound.measure].noun.format(possessive=_possessive(claim))}"


def _phrase(claim: Verdict, measure: str, amount: str) -> str:
    return MEASURES[measure].phrase.format(amount=amount, possessive=_possessive(claim))


def _possessive(claim: Verdict) -> str:
    """Possessive of the reference model, such as "the teacher’s"."""
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
    """Format a value, or a range between two values, in the unit of the measure."""
    unit = MEASURES[measure].unit
    if unit == "share":
        return " to ".join(map(_percent, ends))
    numbers = " to ".join(map(short, ends))
    if unit == "points":
        return f"{numbers} percentage point{'' if numbers in ('1', '-1') else 's'}"
    return f"{numbers} {unit}"


def _percent(share: float) -> str:
    """Format a share as a percentage, with one decimal unless it is 0."""
    return f"{share * 100:.1f}".removesuffix(".0") + " %"
