"""Quantiles of times, and ratios of medians from the rounds of one process.

These ratios serve choices that are made at once, such as which layers stay float. What is reported, and what
a claim is judged on, is measured in several processes: `kdtool.results.statistics.sessions`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kdtool.core.errors import UsageError
from kdtool.results.statistics.estimate import CONFIDENCE, Interval, middle

P90_SAMPLES, P99_SAMPLES = 64, 662  # the rule of MLPerf
ROUNDS_IN_MEMORY = 500_000  # of resamples; each takes some 40 bytes
LEAST_SAMPLES = ((0.99, P99_SAMPLES), (0.90, P90_SAMPLES))


@dataclass(frozen=True)
class Ratio:
    """Ratio of two medians with its 95 % interval, from `n` rounds of one process."""

    value: float
    interval: Interval
    n: int


def quantile(samples: npt.ArrayLike, share: float) -> float:
    """Quantile of the samples: `share` of the samples are below it; linear between samples.

    Raises:
        UsageError: there are too few samples; a p90 needs 64 and a p99 needs 662, by the rule of MLPerf.
    """
    values = np.asarray(samples, np.float64)
    require_samples(values.size, share)
    return float(np.quantile(values, share))


def require_samples(count: int, share: float) -> None:
    """Raise UsageError if `count` samples are too few for the quantile `share`."""
    least = samples_for(share)
    if count < least:
        raise UsageError(
            f"p{100 * share:g} of {count} samples: it needs at least {least}.",
            f"Measure with --runs {max(least, P90_SAMPLES)}.",
        )


def samples_for(share: float) -> int:
    """Number of samples that the quantile `share` needs: 64 from 0.9 on, 662 from 0.99 on, otherwise 1."""
    return next((least for rank, least in LEAST_SAMPLES if share >= rank), 1)


def median_ratio_interval(
    numerator: npt.ArrayLike,
    denominator: npt.ArrayLike,
    resamples: int = 2_000,
    seed: int = 0,
    confidence: float = CONFIDENCE,
) -> Interval:
    """Percentile interval of median(numerator) / median(denominator), samples paired by round.

    If the machine is slow for a second, neighbouring rounds of both models are slow. So whole blocks of
    ⌈n^(1/3)⌉ neighbouring rounds are resampled, the same blocks for both models.
    Source: H. R. Künsch, Ann. Statist. 17 (1989) 1217.

    Args:
        numerator, denominator: (N,) positive; sample n of both was measured in the same round.

    Raises:
        ValueError: the arrays have different lengths.
    """
    pair = np.stack([np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)])
    rounds = pair.shape[1]
    block = math.ceil(rounds ** (1 / 3))
    generator = np.random.default_rng(seed)
    ratios = []
    at_once = max(1, ROUNDS_IN_MEMORY // max(1, rounds))
    for done in range(0, resamples, at_once):
        size = min(at_once, resamples - done)
        starts = generator.integers(0, rounds - block + 1, (size, math.ceil(rounds / block)))
        drawn = (starts[:, :, None] + np.arange(block)).reshape(size, -1)[:, :rounds]
        medians = [np.median(values[drawn], axis=1) for values in pair]
        ratios.append(medians[0] / medians[1])
    return middle(np.concatenate(ratios), confidence)


def ratio_of_medians(times: npt.ArrayLike, reference: npt.ArrayLike, seed: int = 0) -> Ratio:
    """median(times) / median(reference): below 1 if the model is faster than the reference.

    Args:
        times, reference: (N,) positive; time n of both was measured in the same round.

    Raises:
        ValueError: the arrays have different lengths.
        UsageError: the arrays are empty.
    """
    ratio = quantile(times, 0.5) / quantile(reference, 0.5)
    return Ratio(ratio, median_ratio_interval(times, reference, seed=seed), np.size(times))


def speedup(times: npt.ArrayLike, reference: npt.ArrayLike, seed: int = 0) -> Ratio:
    """median(reference) / median(times): above 1 if the model is faster; see `ratio_of_medians`."""
    return ratio_of_medians(reference, times, seed)
