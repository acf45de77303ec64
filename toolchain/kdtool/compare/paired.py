"""Intervals of the difference between two recipes that were trained with a few seeds. Pure functions.

Two recipes with the same seed have the same initial weights and the same order of the images, and every
network is evaluated on the same test images: the comparison is paired in seeds and in images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev

import numpy as np
import numpy.typing as npt
from scipy import stats

from kdtool.results.statistics.estimate import CONFIDENCE, Interval


def seeds_interval(differences: Sequence[float], confidence: float = CONFIDENCE) -> Interval | None:
    """Interval of the mean difference over seeds: d̄ ± t(n − 1) · s / √n.

    It covers the chance of the seeds (initial weights, order of the images) for this split of these
    photographs, but not the choice of the photographs. It assumes a normal distribution of the differences.
    Source: Student, Biometrika 6 (1908) 1.

    Args:
        differences: difference for each seed, in any unit.

    Returns:
        (low, high), or None for fewer than two seeds, which have no spread.
    """
    n = len(differences)
    if n < 2:
        return None
    mean = fmean(differences)
    half = stats.t.ppf((1 + confidence) / 2, n - 1) * stdev(differences) / math.sqrt(n)
    return mean - half, mean + half


def images_interval(
    ours: npt.NDArray[np.bool_],
    theirs: npt.NDArray[np.bool_],
    resamples: int = 10_000,
    seed: int = 0,
    confidence: float = CONFIDENCE,
) -> Interval:
    """Percentile interval of the mean difference of accuracy, over resampled test images.

    It covers the choice of the test images for these networks, but not the chance of the seeds. The
    difference of image n is the mean over seeds, d_n = (1/S) Σ_s (ours_sn − theirs_sn), which has 2S + 1
    possible values. To draw N images with replacement is to draw the number of images with each value from a
    multinomial distribution. As in `kdtool.results.statistics.accuracy.paired_bootstrap`, 0.5 is added to the
    number of images that only `ours` classifies correctly, 0.5 to those that only `theirs` classifies
    correctly, and 1 to those without a difference.

    Args:
        ours, theirs: (S, N) True if the network of seed s classifies image n correctly.

    Returns:
        (low, high) in [-1, 1].

    Raises:
        ValueError: the arrays are not of the same seeds and images.
    """
    if ours.shape != theirs.shape or ours.ndim != 2:
        raise ValueError(f"shapes {ours.shape} and {theirs.shape} are not paired")
    seeds, images = ours.shape
    sums = ours.sum(axis=0).astype(int) - theirs.sum(axis=0).astype(int)
    cells = np.bincount(sums + seeds, minlength=2 * seeds + 1).astype(float)
    cells[[0, -1]] += 0.5
    cells[seeds] += 1.0
    draws = np.random.default_rng(seed).multinomial(images, cells / cells.sum(), size=resamples)
    means = draws @ np.arange(-seeds, seeds + 1) / (seeds * images)
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def gap_closed(student: float, baseline: float, teacher: float) -> float | None:
    """(student − baseline) / (teacher − baseline): 0 is as good as the baseline, 1 as good as the teacher.

    None if the teacher is not better than the baseline, since there is no gap.
    """
    return (student - baseline) / (teacher - baseline) if teacher > baseline else None
