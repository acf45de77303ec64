"""What a few paired trainings allow to say. Pure functions.

Two recipes that are trained with the same seed share initial weights and order, and every network answers
the same test images: their comparison is paired in both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev

import numpy as np
import numpy.typing as npt
from scipy import stats

from kdtool.results.statistics import CONFIDENCE, Interval


def seeds_interval(differences: Sequence[float], confidence: float = CONFIDENCE) -> Interval | None:
    """Interval of the mean difference over seeds: d̄ ± t(n − 1) · s / √n.

    It covers what other seeds (initial weights, order of the images) would have given on this split of
    these photographs; not other photographs. It supposes that differences are normally distributed.
    Source: Student, Biometrika 6 (1908) 1.

    Args:
        differences: of one seed each, in any unit.

    Returns:
        (low, high), or None for fewer than two seeds, which say nothing of the spread.
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

    It covers what other test images would have given these very networks; not other seeds. An image's
    difference is the mean over seeds, d_n = (1/S) Σ_s (ours_sn − theirs_sn), of 2S + 1 possible values:
    drawing N images with replacement is drawing how often each value comes from a multinomial.
    Half an image that only we, half that only they, and one that both or neither get right are added
    to the draw, as `kdtool.results.statistics.paired_bootstrap` explains.

    Args:
        ours, theirs: (S, N) whether each of N images is answered rightly, by the networks of S seeds.

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
    """(student − baseline) / (teacher − baseline): 0 like without a teacher, 1 as good as the teacher.

    None where the teacher is not better than the baseline, and there is no gap.
    """
    return (student - baseline) / (teacher - baseline) if teacher > baseline else None
