"""Methods that choose the INT8 range of an activation from its histogram: one function each, and their table.

A range that is narrower than min–max clips rare values and resolves the others more finely. The best method
differs between networks, and each method has made some network useless. So the INT8 model is always
evaluated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from kdtool.calibration.histogram import BINS, TINY, Histogram, Range
from kdtool.recipe.choices import Calibration

REVISION = 3  # increase it if a method chooses other ranges; older INT8 models are made again then
LEVELS = 256
PERCENTILE = 99.99
SHRINKS = np.linspace(1.0, 0.2, 81)  # factors of the candidates, min–max first
EMPTY_BIN = 1e-9  # probability of an empty bin, so that its logarithm is finite

Counts = npt.NDArray[np.float64]
Method = Callable[[Histogram], Range]


def minmax(histogram: Histogram) -> Range:
    """Range from the smallest to the largest value, extended to contain 0: nothing is clipped."""
    return histogram.low, histogram.high


def percentile(histogram: Histogram) -> Range:
    """Range without the outermost (100 − `PERCENTILE`) / 2 % of the values on each side, by whole bins."""
    below = np.cumsum(histogram.counts)
    total, tail = below[-1], (1 - PERCENTILE / 100) / 2
    first = int(np.searchsorted(below, tail * total, side="right"))
    last = int(np.searchsorted(below, (1 - tail) * total, side="left"))
    low = histogram.low + first * histogram.width
    high = histogram.low + (last + 1) * histogram.width
    return (low, min(high, histogram.high)) if low < high else minmax(histogram)


def entropy(histogram: Histogram) -> Range:
    """Range [−T, T] ∩ [low, high] whose levels lose the least information: argmin KL(P ‖ Q).

    P is the histogram inside the range, with the counts outside added to the edge bins. Q is made from the
    counts inside: the counts of each level are summed and spread evenly over the bins of the level that are
    not empty. Source: S. Migacz, "8-bit Inference with TensorRT", 2017.

    The bin of 0 is in neither P nor Q. 0 is a level of every grid, so quantization is exact for zeros, and
    ReLU makes many of them. Spread over their level, the zeros would outweigh all other values, and the
    narrowest range, which has the finest levels, would win. NVIDIA's pytorch-quantization
    (`calib/histogram.py`) overwrites the first bin for the same reason.
    """
    counts = histogram.counts.astype(np.float64)
    counts[histogram.zero] = 0
    return min(_candidates(histogram), key=lambda candidate: _divergence(histogram, counts, candidate))


def mse(histogram: Histogram) -> Range:
    """Range [−T, T] ∩ [low, high] with the least Σ counts · (x − quantized(x))².

    quantized(x) = step · clip(round(x / step)), so that 0 is always a level.
    """
    centres = histogram.centres

    def error(candidate: Range) -> float:
        low, high = candidate
        step = (high - low) / (LEVELS - 1)
        quantized = step * np.round(np.clip(centres, low, high) / step)
        return float(np.dot(histogram.counts, (centres - quantized) ** 2))

    if histogram.width < TINY:
        return minmax(histogram)
    return min(_candidates(histogram), key=error)


METHODS: Mapping[Calibration, Method] = {
    Calibration.MINMAX: minmax,
    Calibration.PERCENTILE: percentile,
    Calibration.ENTROPY: entropy,
    Calibration.MSE: mse,
}
WITHOUT_COUNTS = (Calibration.MINMAX,)  # methods that need low and high only, so no second pass


def _candidates(histogram: Histogram) -> list[Range]:
    """Ranges [−T, T] ∩ [low, high] for falling T, so that the longer side is clipped first."""
    largest = max(abs(histogram.low), abs(histogram.high))
    return [
        (max(histogram.low, -shrink * largest), min(histogram.high, shrink * largest)) for shrink in SHRINKS
    ]


def _divergence(histogram: Histogram, counts: Counts, candidate: Range) -> float:
    """KL(P ‖ Q) of one candidate of `entropy`, for `counts` in the bins of `histogram`."""
    if histogram.width < TINY:
        return 0.0
    edges = (np.array(candidate) - histogram.low) / histogram.width
    first, last = int(edges[0]), min(int(np.ceil(edges[1])), BINS)
    inside = counts[first:last]
    reference = inside.copy()
    reference[0] += counts[:first].sum()
    reference[-1] += counts[last:].sum()
    step = (candidate[1] - candidate[0]) / (LEVELS - 1)
    levels = np.round(histogram.centres[first:last] / step)
    spread = _spread(inside, levels)
    total = spread.sum()
    if not total:
        return float("inf")
    p = reference / reference.sum()
    q = np.maximum(spread / total, EMPTY_BIN)
    used = p > 0
    return float(np.sum(p[used] * np.log(p[used] / q[used])))


def _spread(counts: Counts, levels: Counts) -> Counts:
    """Replace the counts of each level by their mean over its bins that are not empty.

    Args:
        levels: level of each bin, in ascending order.
    """
    starts = np.flatnonzero(np.diff(levels, prepend=-np.inf))
    sizes = np.diff(np.append(starts, len(counts)))
    filled = counts > 0
    share = np.add.reduceat(counts, starts) / np.maximum(np.add.reduceat(filled, starts, dtype=np.int64), 1)
    return np.where(filled, np.repeat(share, sizes), 0.0)
