"""Measures that a claim can bound. A new measure is one function and one entry in `MEASURES`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from kdtool.results.classes import Answers, MeasureName
from kdtool.results.statistics.accuracy import Concordance, difference_bootstrap, paired_bootstrap, wilson
from kdtool.results.statistics.estimate import BoolArray, Estimate
from kdtool.results.statistics.sessions import (
    Sessions,
    quantile_of_sessions,
    ratio_of_sessions,
    speedup_of_sessions,
)
from kdtool.results.statistics.times import P99_SAMPLES, samples_for

IMAGES = "test images"


@dataclass(frozen=True, kw_only=True)
class Side:
    """Measurements of one model that a claim may use; None or empty if not measured or not valid.

    Attributes:
        correct: (N,) True if the model is right on test image n; both models have the same images and order.
        answers: labels and predictions for the test images.
        params, macs: number of parameters, and MACs of one image, of the FP32 network.
        size_bytes: size of the model file.
        latencies: ms of each inference at batch 1, by session; both models were measured in turns.
        batches: ms of each batch, by session; both models were measured in turns.
    """

    correct: BoolArray | None = None
    answers: Answers | None = None
    params: int | None = None
    macs: int | None = None
    size_bytes: int | None = None
    latencies: Sessions = ()
    batches: Sessions = ()


@dataclass(frozen=True)
class Resampling:
    """Settings of the bootstrap; the same seed gives the same interval."""

    resamples: int = 10_000
    seed: int = 0


MeasuredValue = Estimate | Fraction | None  # with an interval, exact, or not measured


@dataclass(frozen=True)
class Measure:
    """One measure, and the words for it in sentences.

    In the texts, {amount} is a value with its unit, {reference} the name of the reference model ("the
    teacher"), and {possessive} the possessive of this name ("the teacher’s").

    Attributes:
        noun: name of the measure in a sentence, singular, after "the".
        phrase: amount of the measure, after "has" or "Claimed:".
        needs: data that its measurement needs, after "needs".
        unit: unit of the values; a share is printed as a percentage.
        estimate: function that computes the value for the judged model, relative to the reference if needed.
        negative: phrase for the amount −x of a negative value x; "": values are never negative.
        timed: True if the measure is a time, which is valid only for the machine of the measurement.
    """

    noun: str
    phrase: str
    needs: str
    unit: Literal["share", "points", "ms", "MB"]
    estimate: Callable[[Side | None, Side | None, Resampling], MeasuredValue]
    negative: str = ""
    timed: bool = False


def _retention(judged: Side | None, reference: Side | None, how: Resampling) -> MeasuredValue:
    pair = _pair(judged, reference)
    if pair is None:
        return None
    table = Concordance.of(*pair)
    interval = paired_bootstrap(*pair, how.resamples, how.seed)
    if table.retention is None or interval is None:
        return None
    return Estimate(table.retention, interval, table.images, IMAGES)


def _drop(judged: Side | None, reference: Side | None, how: Resampling) -> MeasuredValue:
    pair = _pair(judged, reference)
    if pair is None:
        return None
    table = Concordance.of(*pair)
    low, high = difference_bootstrap(*pair, how.resamples, how.seed)
    return Estimate(0.0 - 100 * table.difference, (-100 * high, -100 * low), table.images, IMAGES)


def _accuracy(judged: Side | None, reference: Side | None, how: Resampling) -> MeasuredValue:  # noqa: ARG001 (one signature for all)
    if judged is None or judged.correct is None or not len(judged.correct):
        return None
    right, images = int(judged.correct.sum()), len(judged.correct)
    return Estimate(right / images, wilson(right, images), images, IMAGES)


def _by_class(name: MeasureName) -> Callable[..., MeasuredValue]:
    """Make the estimate of a figure that counts every class alike."""

    def estimate(judged: Side | None, reference: Side | None, how: Resampling) -> MeasuredValue:  # noqa: ARG001 (one signature for all)
        if judged is None or judged.answers is None or not len(judged.answers.labels):
            return None
        answers = judged.answers
        interval = answers.interval(name, seed=how.seed)
        return Estimate(getattr(answers.tally, name), interval, len(answers.labels), IMAGES)

    return estimate


def _pair(judged: Side | None, reference: Side | None) -> tuple[BoolArray, BoolArray] | None:
    if judged is None or reference is None or judged.correct is None or reference.correct is None:
        return None
    return (judged.correct, reference.correct) if len(reference.correct) else None


def _exact(count: Callable[[Side], int | None]) -> Callable[..., MeasuredValue]:
    """Make the estimate of a ratio of two integers, which has no interval."""

    def estimate(judged: Side | None, reference: Side | None, how: Resampling) -> MeasuredValue:  # noqa: ARG001 (one signature for all)
        numerator = count(judged) if judged is not None else None
        denominator = count(reference) if reference is not None else None
        if numerator is None or denominator is None or min(numerator, denominator) < 1:
            return None
        return Fraction(numerator, denominator)

    return estimate


def _size_mb(judged: Side | None, reference: Side | None, how: Resampling) -> MeasuredValue:  # noqa: ARG001 (one signature for all)
    return Fraction(judged.size_bytes, 10**6) if judged and judged.size_bytes else None


def _latency(judged: Side | None, reference: Side | None, how: Resampling) -> MeasuredValue:  # noqa: ARG001 (one signature for all)
    times, reference_times = _same_sessions(judged, reference, lambda side: side.latencies)
    return ratio_of_sessions(times, reference_times) if times else None


def _throughput(judged: Side | None, reference: Side | None, how: Resampling) -> MeasuredValue:  # noqa: ARG001 (one signature for all)
    times, reference_times = _same_sessions(judged, reference, lambda side: side.batches)
    return speedup_of_sessions(times, reference_times) if times else None


def _same_sessions(
    judged: Side | None, reference: Side | None, times: Callable[[Side], Sessions]
) -> tuple[Sessions, Sessions]:
    """Times of both models; empty if they are not of the same rounds of the same sessions."""
    first, second = (times(side) if side is not None else () for side in (judged, reference))
    return (first, second) if list(map(len, first)) == list(map(len, second)) else ((), ())


def _percentile_ms(share: float) -> Callable[..., MeasuredValue]:
    def estimate(judged: Side | None, reference: Side | None, how: Resampling) -> MeasuredValue:  # noqa: ARG001 (one signature for all)
        sessions = judged.latencies if judged is not None else ()
        enough = sum(map(len, sessions)) >= samples_for(share)
        return quantile_of_sessions(sessions, share) if enough else None

    return estimate


_BOTH = "the predictions of both models for the same test images"
_TIMES = "valid latencies"
MEASURES: dict[str, Measure] = {
    "retention": Measure(
        "retention",
        "{amount} of {possessive} accuracy",
        f"{_BOTH}, some of which {{reference}} classifies correctly",
        "share",
        _retention,
    ),
    "accuracy": Measure("top-1 accuracy", "a top-1 accuracy of {amount}", "test images", "share", _accuracy),
    "balanced_accuracy": Measure(
        "balanced accuracy",
        "a balanced accuracy of {amount}",
        "test images",
        "share",
        _by_class("balanced_accuracy"),
    ),
    "macro_f1": Measure("macro-F1", "a macro-F1 of {amount}", "test images", "share", _by_class("macro_f1")),
    "drop": Measure(
        "drop in accuracy",
        "a drop of {amount} from {possessive} accuracy",
        _BOTH,
        "points",
        _drop,
        negative="a gain of {amount} over {possessive} accuracy",
    ),
    "macs": Measure(
        "compute relative to {possessive}",
        "{amount} of {possessive} compute",
        "the multiply–accumulates of both models",
        "share",
        _exact(lambda side: side.macs),
    ),
    "params": Measure(
        "number of parameters relative to {possessive}",
        "{amount} of {possessive} parameters",
        "the parameters of both models",
        "share",
        _exact(lambda side: side.params),
    ),
    "size": Measure(
        "file size relative to {possessive}",
        "{amount} of {possessive} file size",
        "the files of both models",
        "share",
        _exact(lambda side: side.size_bytes),
    ),
    "size_mb": Measure("file size", "a file size of {amount}", "the file", "MB", _size_mb),
    "latency": Measure(
        "median latency relative to {possessive}",
        "{amount} of {possessive} median latency",
        f"{_TIMES} of both models",
        "share",
        _latency,
        timed=True,
    ),
    "p50_ms": Measure(
        "median latency", "a median latency of {amount}", _TIMES, "ms", _percentile_ms(0.50), timed=True
    ),
    "p90_ms": Measure(
        "90th-percentile latency",
        "a 90th-percentile latency of {amount}",
        _TIMES,
        "ms",
        _percentile_ms(0.90),
        timed=True,
    ),
    "p99_ms": Measure(
        "99th-percentile latency",
        "a 99th-percentile latency of {amount}",
        f"{P99_SAMPLES} {_TIMES} (kdtool bench --runs {P99_SAMPLES})",
        "ms",
        _percentile_ms(0.99),
        timed=True,
    ),
    "throughput": Measure(
        "throughput relative to {possessive}",
        "{amount} of {possessive} throughput",
        "valid times of batches of both models",
        "share",
        _throughput,
        timed=True,
    ),
}
