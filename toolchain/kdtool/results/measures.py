"""What a claim can be about. A new measure is one function and one entry in `MEASURES`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from kdtool.results.statistics import (
    P99_SAMPLES,
    BoolArray,
    Concordance,
    Estimate,
    difference_bootstrap,
    paired_bootstrap,
    quantile,
    quantile_interval,
    ratio_of_medians,
    samples_for,
    speedup,
    wilson,
)

IMAGES, SAMPLES, BATCHES = "test images", "latency samples", "batches"


@dataclass(frozen=True)
class Side:
    """What a claim may use of one model; None, or nothing in it, where it was not measured or does not count.

    Attributes:
        correct: (N,) over the test images, the same and in the same order for both sides.
        params, macs: of the float network.
        latencies: ms of each sample of single stream; sample n of both sides was taken in the same round.
        batches: the same of offline batches.
    """

    correct: BoolArray | None = None
    params: int | None = None
    macs: int | None = None
    size_bytes: int | None = None
    latencies: tuple[float, ...] = ()
    batches: tuple[float, ...] = ()


@dataclass(frozen=True)
class Resampling:
    """How intervals are made; the same seed gives the same interval."""

    resamples: int = 10_000
    seed: int = 0


Found = Estimate | Fraction | None  # with an interval, exact, or not measured


@dataclass(frozen=True)
class Measure:
    """One measure, and the words for it.

    Attributes:
        noun: its name in a sentence, singular, after "the".
        phrase: what a model has of it, after "at least" or "has": {amount} is a value with its unit.
        wants: what it takes to measure it, after "it takes".
        unit: of its values; a share is printed as a percentage.
        estimate: its value for the judged model, held against the reference where it is relative.
        timed: whether it is a time, which is of the machine it was measured on and of no other.

        In the texts {reference} is the name of the reference, and {own} the possessive of it.
    """

    noun: str
    phrase: str
    wants: str
    unit: Literal["share", "points", "ms", "MB"]
    estimate: Callable[[Side | None, Side | None, Resampling], Found]
    timed: bool = False


def _retention(judged: Side | None, reference: Side | None, how: Resampling) -> Found:
    pair = _pair(judged, reference)
    if pair is None:
        return None
    table = Concordance.of(*pair)
    interval = paired_bootstrap(*pair, how.resamples, how.seed)
    if table.retention is None or interval is None:
        return None
    return Estimate(table.retention, interval, table.images, IMAGES)


def _drop(judged: Side | None, reference: Side | None, how: Resampling) -> Found:
    pair = _pair(judged, reference)
    if pair is None:
        return None
    table = Concordance.of(*pair)
    low, high = difference_bootstrap(*pair, how.resamples, how.seed)
    return Estimate(0.0 - 100 * table.difference, (-100 * high, -100 * low), table.images, IMAGES)


def _accuracy(judged: Side | None, reference: Side | None, how: Resampling) -> Found:  # noqa: ARG001 (one signature for all)
    if judged is None or judged.correct is None or not len(judged.correct):
        return None
    right, images = int(judged.correct.sum()), len(judged.correct)
    return Estimate(right / images, wilson(right, images), images, IMAGES)


def _pair(judged: Side | None, reference: Side | None) -> tuple[BoolArray, BoolArray] | None:
    if judged is None or reference is None or judged.correct is None or reference.correct is None:
        return None
    return (judged.correct, reference.correct) if len(reference.correct) else None


def _exact(count: Callable[[Side], int | None]) -> Callable[..., Found]:
    """Ratio of two integers, which has no interval."""

    def estimate(judged: Side | None, reference: Side | None, how: Resampling) -> Found:  # noqa: ARG001 (one signature for all)
        own = count(judged) if judged is not None else None
        other = count(reference) if reference is not None else None
        return Fraction(own, other) if own and other else None

    return estimate


def _size_mb(judged: Side | None, reference: Side | None, how: Resampling) -> Found:  # noqa: ARG001 (one signature for all)
    return Fraction(judged.size_bytes, 10**6) if judged and judged.size_bytes else None


def _latency(judged: Side | None, reference: Side | None, how: Resampling) -> Found:
    own, other = _same_rounds(judged, reference, lambda side: side.latencies)
    return ratio_of_medians(own, other, how.seed, SAMPLES) if own else None


def _throughput(judged: Side | None, reference: Side | None, how: Resampling) -> Found:
    own, other = _same_rounds(judged, reference, lambda side: side.batches)
    return speedup(own, other, how.seed, BATCHES) if own else None


def _same_rounds(
    judged: Side | None, reference: Side | None, times: Callable[[Side], tuple[float, ...]]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The times of both models; none where they are not of the same rounds."""
    own, other = (times(side) if side is not None else () for side in (judged, reference))
    return (own, other) if len(own) == len(other) else ((), ())


def _percentile_ms(share: float) -> Callable[..., Found]:
    def estimate(judged: Side | None, reference: Side | None, how: Resampling) -> Found:  # noqa: ARG001 (one signature for all)
        samples = judged.latencies if judged is not None else ()
        if len(samples) < samples_for(share):
            return None
        interval = quantile_interval(samples, share)
        return Estimate(quantile(samples, share), interval, len(samples), SAMPLES) if interval else None

    return estimate


_BOTH = "the answers of both models to the same test images"
_TIMES = "valid latencies"
MEASURES: dict[str, Measure] = {
    "retention": Measure(
        "retention",
        "{amount} of {own} accuracy",
        f"{_BOTH}, some of which {{reference}} classifies correctly",
        "share",
        _retention,
    ),
    "accuracy": Measure("top-1 accuracy", "a top-1 accuracy of {amount}", "test images", "share", _accuracy),
    "drop": Measure("drop in accuracy", "a drop of {amount} from {own} accuracy", _BOTH, "points", _drop),
    "macs": Measure(
        "compute relative to {own}",
        "{amount} of {own} compute",
        "the multiply–accumulates of both models",
        "share",
        _exact(lambda side: side.macs),
    ),
    "params": Measure(
        "number of parameters relative to {own}",
        "{amount} of {own} parameters",
        "the parameters of both models",
        "share",
        _exact(lambda side: side.params),
    ),
    "size": Measure(
        "file size relative to {own}",
        "{amount} of {own} file size",
        "the files of both models",
        "share",
        _exact(lambda side: side.size_bytes),
    ),
    "size_mb": Measure("file size", "a file size of {amount}", "the file", "MB", _size_mb),
    "latency": Measure(
        "median latency relative to {own}",
        "{amount} of {own} median latency",
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
        "throughput relative to {own}",
        "{amount} of {own} throughput",
        "valid times of batches of both models",
        "share",
        _throughput,
        timed=True,
    ),
}
