"""Estimates, intervals and tests for a test split of finite size. Pure functions that need numpy only.

Two models are evaluated on the same images, so every comparison of models is paired.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from kdtool.core.errors import UsageError

BoolArray = npt.NDArray[np.bool_]
Interval = tuple[float, float]
CONFIDENCE = 0.95
P90_SAMPLES, P99_SAMPLES = 64, 662  # the rule of MLPerf
ROUNDS_IN_MEMORY = 500_000  # of resamples; each takes some 40 bytes
LEAST_SAMPLES = ((0.99, P99_SAMPLES), (0.90, P90_SAMPLES))


@dataclass(frozen=True)
class Estimate:
    """Value with its 95 % interval, estimated from `n` samples; `of` is the name of these samples."""

    value: float
    interval: Interval
    n: int
    of: str


@dataclass(frozen=True)
class Concordance:
    """2 × 2 table of two classifiers on the same images: how often both, only one or neither is right."""

    both: int
    first_only: int
    second_only: int
    neither: int

    @classmethod
    def of(cls, first: BoolArray, second: BoolArray) -> Concordance:
        """Count the images of each cell.

        Args:
            first, second: (N,) True if the classifier is right on image n.

        Raises:
            ValueError: the arrays have different shapes.
        """
        if first.shape != second.shape or first.ndim != 1:
            raise ValueError(f"shapes {first.shape} and {second.shape} are not paired")
        first, second = first.astype(bool), second.astype(bool)
        pairs = (first & second, first & ~second, ~first & second, ~first & ~second)
        return cls(*(int(np.count_nonzero(pair)) for pair in pairs))

    @property
    def images(self) -> int:
        return self.both + self.first_only + self.second_only + self.neither

    @property
    def difference(self) -> float:
        """Accuracy of the first classifier − accuracy of the second."""
        return (self.first_only - self.second_only) / self.images

    @property
    def retention(self) -> float | None:
        """Accuracy of the first classifier / accuracy of the second; None if the second is never right."""
        right = self.both + self.second_only
        return (self.both + self.first_only) / right if right else None


def wilson(successes: int, n: int, confidence: float = CONFIDENCE) -> Interval:
    """Wilson's score interval of a proportion p̂ = successes / n.

    (p̂ + z²/2n ± z √(p̂(1 − p̂)/n + z²/4n²)) / (1 + z²/n), z the (1 + confidence)/2 quantile of the
    normal distribution. Source: E. B. Wilson, J. Am. Stat. Assoc. 22 (1927) 209.

    Raises:
        ValueError: the counts do not satisfy 0 ≤ successes ≤ n and n ≥ 1.
    """
    if not 0 <= successes <= n or n < 1:
        raise ValueError(f"{successes} successes of {n}")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    p = successes / n
    centre = p + z * z / (2 * n)
    spread = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    low = 0.0 if successes == 0 else (centre - spread) / scale  # without rounding errors at 0 and 1
    high = 1.0 if successes == n else (centre + spread) / scale
    return low, high


def paired_bootstrap(
    first: BoolArray,
    second: BoolArray,
    resamples: int = 10_000,
    seed: int = 0,
    confidence: float = CONFIDENCE,
) -> Interval | None:
    """Percentile interval of retention = accuracy of `first` / accuracy of `second`, over resampled images.

    To draw n images with replacement and count them is to draw the 2 × 2 table of concordance from
    Multinomial(n, table / n): the distribution is the same, and the cost does not grow with n.

    0.5 is added to each cell. Otherwise a table without discordant images could never give one, and ten
    images that both classify correctly would prove a retention of exactly 1. With the 0.5, 95 % intervals
    cover 93–100 % in simulations of 30 to 1,000 images (tests/unit/test_statistics.py); the coverage is
    highest if few images are discordant, and the 0.5 has no visible effect at 1,000 images.
    Sources: B. Efron, Ann. Statist. 7 (1979) 1; A. Agresti and Y. Min, Stat. Med. 24 (2005) 729 for the 0.5.

    Args:
        first, second: (N,) True if the classifier is right on image n.

    Returns:
        (low, high), or None if `second` is never right, since there is no ratio.
    """
    table = Concordance.of(first, second)
    if table.retention is None:
        return None
    draws = _resampled(table, resamples, seed)
    numerator, denominator = draws[:, 0] + draws[:, 1], draws[:, 0] + draws[:, 2]
    defined = denominator > 0  # a resample in which `second` is never right has no ratio
    return _middle(numerator[defined] / denominator[defined], confidence)


def mcnemar_exact(b: int, c: int) -> float:
    """Two-sided p-value of the exact McNemar test, which compares two classifiers on the same images.

    If both are equally good, each of the b + c discordant images belongs to b or c like the toss of a fair
    coin: p = min(1, 2 Σ_{k ≤ min(b, c)} C(b + c, k) / 2^(b + c)). Source: Q. McNemar, Psychometrika 12
    (1947) 153, in its binomial form.

    Args:
        b: number of images that only the first classifier gets right.
        c: number of images that only the second classifier gets right.
    """
    n = b + c
    term, total = 1, 0
    for k in range(min(b, c) + 1):
        total += term
        term = term * (n - k) // (k + 1)
    return min(1.0, 2 * total / (1 << n))


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Correct m p-values for their number by Holm's method, so that one level applies to all of them.

    In ascending order, p̃ᵢ = max over j ≤ i of min(1, (m − j + 1) pⱼ). The probability that at least one
    corrected value is under the level although its pair does not differ is at most the level, even if the
    p-values depend on each other. Source: S. Holm, Scand. J. Statist. 6 (1979) 65.

    Returns:
        The corrected values, in the order of `p_values`.
    """
    corrected, least = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = least
    return tuple(corrected)


def difference_bootstrap(
    first: BoolArray,
    second: BoolArray,
    resamples: int = 10_000,
    seed: int = 0,
    confidence: float = CONFIDENCE,
) -> Interval:
    """Percentile interval of accuracy of `first` − accuracy of `second`, over resampled images.

    The tables of concordance are drawn as in `paired_bootstrap`.

    Args:
        first, second: (N,) True if the classifier is right on image n.

    Returns:
        (low, high) in [-1, 1].
    """
    table = Concordance.of(first, second)
    draws = _resampled(table, resamples, seed)
    return _middle((draws[:, 1] - draws[:, 2]) / table.images, confidence)


def quantile(samples: npt.ArrayLike, share: float) -> float:
    """Quantile of the samples: `share` of the samples are below it; linear between samples.

    Raises:
        UsageError: there are too few samples; a p90 needs 64 and a p99 needs 662, by the rule of MLPerf.
    """
    values = np.asarray(samples, np.float64)
    least = samples_for(share)
    if values.size < least:
        raise UsageError(
            f"p{100 * share:g} of {values.size} samples: it needs at least {least}.",
            f"Measure with --runs {max(least, P90_SAMPLES)}.",
        )
    return float(np.quantile(values, share))


def samples_for(share: float) -> int:
    """Number of samples that the quantile `share` needs: 64 from 0.9 on, 662 from 0.99 on, otherwise 1."""
    return next((least for rank, least in LEAST_SAMPLES if share >= rank), 1)


def quantile_interval(
    samples: npt.ArrayLike, share: float, confidence: float = CONFIDENCE
) -> Interval | None:
    """Interval of the quantile q of the distribution that the samples come from, by order statistics.

    The number of samples below q is binomial, so P(X₍ₗ₎ ≤ q ≤ X₍ᵤ₎) ≥ confidence for ranks l and u with
    P(B < l) ≤ α/2 and P(B ≥ u) ≤ α/2, B ~ Bin(n, share). The samples must be independent; their distribution
    may be any. Source: W. R. Thompson, Ann. Math. Statist. 7 (1936) 122.

    Returns:
        (low, high), or None if n is too small for such ranks to exist.
    """
    values = np.sort(np.asarray(samples, np.float64))
    below = np.cumsum(_binomial(values.size, share))  # [k]: P(B ≤ k)
    tail = (1 - confidence) / 2  # α/2
    low = int(np.searchsorted(below, tail, side="right"))  # the largest l with P(B ≤ l − 1) ≤ α/2
    high = 1 + int(np.searchsorted(below, 1 - tail, side="left"))  # the smallest u: P(B ≤ u − 1) ≥ 1 − α/2
    if low < 1 or high > values.size:
        return None
    return float(values[low - 1]), float(values[high - 1])


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
    return _middle(np.concatenate(ratios), confidence)


def ratio_of_medians(
    times: npt.ArrayLike, reference: npt.ArrayLike, seed: int = 0, of: str = "samples"
) -> Estimate:
    """median(times) / median(reference): below 1 if the model is faster than the reference.

    Args:
        times, reference: (N,) positive; time n of both was measured in the same round.
        of: name of the samples.

    Raises:
        ValueError: the arrays have different lengths.
        UsageError: the arrays are empty.
    """
    ratio = quantile(times, 0.5) / quantile(reference, 0.5)
    return Estimate(ratio, median_ratio_interval(times, reference, seed=seed), np.size(times), of)


def speedup(times: npt.ArrayLike, reference: npt.ArrayLike, seed: int = 0, of: str = "samples") -> Estimate:
    """median(reference) / median(times): above 1 if the model is faster; see `ratio_of_medians`."""
    return ratio_of_medians(reference, times, seed, of)


def _resampled(table: Concordance, resamples: int, seed: int) -> npt.NDArray[np.int64]:
    """Draw tables of concordance, with 0.5 added to each cell of `table`: (resamples, 4)."""
    cells = np.array([table.both, table.first_only, table.second_only, table.neither]) + 0.5
    return np.random.default_rng(seed).multinomial(table.images, cells / cells.sum(), size=resamples)


def _middle(values: npt.NDArray[np.float64], confidence: float) -> Interval:
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def _binomial(n: int, p: float) -> npt.NDArray[np.float64]:
    """Probabilities P(B = k) of Bin(n, p), by logarithms: (n + 1,)."""
    factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, n + 1)))])
    k = np.arange(n + 1)
    logs = factorials[n] - factorials - factorials[::-1] + k * math.log(p) + (n - k) * math.log1p(-p)
    return np.asarray(np.exp(logs))
