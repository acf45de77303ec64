"""What a claim can be about. A new measure is one function and one line in `MEASURES`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from kdtool.results.statistics import (
    CONFIDENCE,
    BoolArray,
    Concordance,
    Interval,
    difference_bootstrap,
    median_ratio_interval,
    paired_bootstrap,
    quantile,
    quantile_interval,
    samples_for,
    wilson,
)

IMAGES, SAMPLES = "test images", "latency samples"


@dataclass(frozen=True)
class Side:
    """What is known of one model; None, or nothing in it, where it is not.

    Attributes:
        correct: (N,) over the test images, the same and in the same order for both sides.
        params, macs: of the float network.
        latency_ms: samples of single stream; sample n of both sides was taken in the same round.
        batch_ms: the same of offline batches.
    """

    correct: BoolArray | None = None
    params: int | None = None
    macs: int | None = None
    size_bytes: int | None = None
    latency_ms: tuple[float, ...] = ()
    batch_ms: tuple[float, ...] = ()


@dataclass(frozen=True)
class Resampling:
    """How intervals are made; the same seed gives the same interval."""

    resamples: int = 10_000
    seed: int = 0
    confidence: float = CONFIDENCE


@dataclass(frozen=True)
class Estimate:
    """A value with its interval, or exact where that is None; from `n` samples `of` what."""

    value: float | Fraction
    interval: Interval | None = None
    n: int = 0
    of: str | None = None


@dataclass(frozen=True)
class Measure:
    """`about`: how it is listed. `unit`: a share is printed as a percentage. `said`: in a sentence, after
    a value, with the reference's possessive for {reference}. `timed`: it is of the machine it was measured
    on, and of no other."""

    about: str
    unit: Literal["share", "points", "ms", "MB"]
    said: str
    estimate: Callable[[Side | None, Side | None, Resampling], Estimate | None]
    timed: bool = False


def _retention(judged: Side | None, reference: Side | None, how: Resampling) -> Estimate | None:
    pair = _pair(judged, reference)
    if pair is None:
        return None
    table = Concordance.of(*pair)
    interval = paired_bootstrap(*pair, how.resamples, how.seed, how.confidence)
    if table.retention is None or interval is None:
        return None
    return Estimate(table.retention, interval, table.images, IMAGES)


def _drop(judged: Side | None, reference: Side | None, how: Resampling) -> Estimate | None:
    pair = _pair(judged, reference)
    if pair is None:
        return None
    table = Concordance.of(*pair)
    low, high = difference_bootstrap(*pair, how.resamples, how.seed, how.confidence)
    lost = (table.teacher_only - table.student_only) / table.images
    return Estimate(100 * lost, (-100 * high, -100 * low), table.images, IMAGES)


def _accuracy(judged: Side | None, reference: Side | None, how: Resampling) -> Estimate | None:  # noqa: ARG001 (one signature for all)
    if judged is None or judged.correct is None or not len(judged.correct):
        return None
    right, images = int(judged.correct.sum()), len(judged.correct)
    return Estimate(right / images, wilson(right, images, how.confidence), images, IMAGES)


def _pair(judged: Side | None, reference: Side | None) -> tuple[BoolArray, BoolArray] | None:
    if judged is None or reference is None or judged.correct is None or reference.correct is None:
        return None
    return (judged.correct, reference.correct) if len(reference.correct) else None


def _exact(count: Callable[[Side], int | None]) -> Callable[..., Estimate | None]:
    """Ratio of two integers, which has no interval."""

    def estimate(judged: Side | None, reference: Side | None, how: Resampling) -> Estimate | None:  # noqa: ARG001 (one signature for all)
        ours = count(judged) if judged is not None else None
        theirs = count(reference) if reference is not None else None
        return Estimate(Fraction(ours, theirs)) if ours and theirs else None

    return estimate


def _size_mb(judged: Side | None, reference: Side | None, how: Resampling) -> Estimate | None:  # noqa: ARG001 (one signature for all)
    return Estimate(Fraction(judged.size_bytes, 10**6)) if judged and judged.size_bytes else None


def _latency(judged: Side | None, reference: Side | None, how: Resampling) -> Estimate | None:
    if judged is None or reference is None:
        return None
    return _median_ratio(judged.latency_ms, reference.latency_ms, how, SAMPLES)


def _throughput(judged: Side | None, reference: Side | None, how: Resampling) -> Estimate | None:
    """Images per second are the inverse of a batch's time."""
    if judged is None or reference is None:
        return None
    return _median_ratio(reference.batch_ms, judged.batch_ms, how, "batches")


def _median_ratio(
    numerator: tuple[float, ...], denominator: tuple[float, ...], how: Resampling, of: str
) -> Estimate | None:
    if not numerator or len(numerator) != len(denominator):
        return None
    interval = median_ratio_interval(numerator, denominator, seed=how.seed, confidence=how.confidence)
    return Estimate(quantile(numerator, 0.5) / quantile(denominator, 0.5), interval, len(numerator), of)


def _percentile_ms(share: float) -> Callable[..., Estimate | None]:
    def estimate(judged: Side | None, reference: Side | None, how: Resampling) -> Estimate | None:  # noqa: ARG001 (one signature for all)
        samples = judged.latency_ms if judged is not None else ()
        if len(samples) < samples_for(share):
            return None
        interval = quantile_interval(samples, share, how.confidence)
        return (
            None if interval is None else Estimate(quantile(samples, share), interval, len(samples), SAMPLES)
        )

    return estimate


MEASURES: dict[str, Measure] = {
    "retention": Measure("accuracy / reference's", "share", "of {reference} accuracy", _retention),
    "accuracy": Measure("top-1 accuracy", "share", "top-1 accuracy", _accuracy),
    "drop": Measure("reference's accuracy − own", "points", "under {reference} accuracy", _drop),
    "macs": Measure(
        "multiply–accumulates / reference's",
        "share",
        "of {reference} compute",
        _exact(lambda side: side.macs),
    ),
    "params": Measure(
        "parameters / reference's", "share", "of {reference} parameters", _exact(lambda side: side.params)
    ),
    "size": Measure(
        "size of the file / reference's", "share", "of {reference} size", _exact(lambda side: side.size_bytes)
    ),
    "size_mb": Measure("size of the file", "MB", "of file", _size_mb),
    "latency": Measure(
        "median latency / reference's", "share", "of {reference} median latency", _latency, timed=True
    ),
    "p50_ms": Measure("median latency", "ms", "of median latency", _percentile_ms(0.50), timed=True),
    "p90_ms": Measure("90th percentile of latency", "ms", "of p90 latency", _percentile_ms(0.90), timed=True),
    "p99_ms": Measure("99th percentile of latency", "ms", "of p99 latency", _percentile_ms(0.99), timed=True),
    "throughput": Measure(
        "images per second / reference's",
        "share",
        "of {reference} images per second",
        _throughput,
        timed=True,
    ),
}
