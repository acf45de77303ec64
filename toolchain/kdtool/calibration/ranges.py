"""From a histogram to the range that 8 bits will span: one function a method, and the table of them.

A range narrower than min–max clips rare values and resolves the others more finely. Which method is
best differs from network to network, and each of them has made some network useless: none is chosen
without evaluating what it leads to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

from kdtool.calibration.histogram import BINS, TINY, Histogram, Range
from kdtool.recipe.choices import Calibration

REVISION = 3  # of what the methods choose; models of another one are made anew
LEVELS = 256
PERCENTILE = 99.99
SHRINKS = np.linspace(1.0, 0.2, 81)  # candidates, min–max first
FEW = 1e-9  # stands for an empty bin where a logarithm is taken

Counts = npt.NDArray[np.float64]
Method = Callable[[Histogram], Range]


def minmax(histogram: Histogram) -> Range:
    """From the smallest to the largest value, 0 included: nothing is clipped."""
    return histogram.low, histogram.high


def percentile(histogram: Histogram) -> Range:
    """Without the outermost (100 − `PERCENTILE`) / 2 % of values on either side, to the nearest bin."""
    below = np.cumsum(histogram.counts)
    total, tail = below[-1], (1 - PERCENTILE / 100) / 2
    first = int(np.searchsorted(below, tail * total, side="right"))
    last = int(np.searchsorted(below, (1 - tail) * total, side="left"))
    low = histogram.low + first * histogram.width
    high = histogram.low + (last + 1) * histogram.width
    return (low, min(high, histogram.high)) if low < high else minmax(histogram)


def entropy(histogram: Histogram) -> Range:
    """The range [−T, T] ∩ [low, high] whose levels lose least information: argmin KL(P ‖ Q).

    P is the histogram inside, with what is outside added to its edge bins. Q are the counts inside, summed
    over the bins of a level and spread evenly over those of them that are not empty. Source: S. Migacz,
    "8-bit Inference with TensorRT", 2017.

    The bin of 0 counts in neither. 0 is a level of every grid, so zeros lose nothing by quantization, however
    many ReLU leaves. Spread over their level they would outweigh all other values, and the narrowest range,
    with the finest level, would win. NVIDIA's pytorch-quantization (`calib/histogram.py`) overwrites the
    first bin for the same reason.
    """
    counts = histogram.counts.astype(np.float64)
    counts[histogram.zero] = 0
    return min(_candidates(histogram), key=lambda candidate: _divergence(histogram, counts, candidate))


def mse(histogram: Histogram) -> Range:
    """The range [−T, T] ∩ [low, high] with the least Σ counts · (x − quantized(x))².

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
COUNTLESS = (Calibration.MINMAX,)  # methods that need the ends alone


def _candidates(histogram: Histogram) -> list[Range]:
    """[−T, T] ∩ [low, high] for falling T: the longer side of a one-sided activation is clipped first."""
    largest = max(abs(histogram.low), abs(histogram.high))
    return [
        (max(histogram.low, -shrink * largest), min(histogram.high, shrink * largest)) for shrink in SHRINKS
    ]


def _divergence(histogram: Histogram, counts: Counts, candidate: Range) -> float:
    """KL(P ‖ Q) of one candidate of `entropy`, of `counts` in the bins of `histogram`."""
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
    q = np.maximum(spread / total, FEW)
    used = p > 0
    return float(np.sum(p[used] * np.log(p[used] / q[used])))


def _spread(counts: Counts, levels: Counts) -> Counts:
    """Each level's sum, shared evenly by its bins that are not empty; `levels` of the bins, rising."""
    starts = np.flatnonzero(np.diff(levels, prepend=-np.inf))
    sizes = np.diff(np.append(starts, len(counts)))
    filled = counts > 0
    share = np.add.reduceat(counts, starts) / np.maximum(np.add.reduceat(filled, starts, dtype=np.int64), 1)
    return np.where(filled, np.repeat(share, sizes), 0.0)
