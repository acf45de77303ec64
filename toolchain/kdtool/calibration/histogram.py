"""Observers of an activation during calibration: its min–max range, and a histogram of its values.

The first pass over the images gives the range, the second one counts values in `BINS` bins. Each tensor
needs a few kilobytes for any number of images. Extremes and integer counts do not depend on the division of
the images into batches.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kdtool.core.preprocess import FloatArray

BINS = 4096  # 16 bins for each of the 256 levels of 8 bits
LARGEST = float(np.finfo(np.float32).max)
TINY = 1e-36  # float32 cannot hold the reciprocal of a smaller width, so all values count as one point
Range = tuple[float, float]


@dataclass
class MinMax:
    """Observer of the smallest and the largest value, float32."""

    low: float = float("inf")
    high: float = float("-inf")

    def add(self, values: FloatArray) -> None:
        """Extend the range by `values`.

        Raises:
            ValueError: a value is NaN or infinite, or the width of the range is over the float32 limit.
        """
        if not values.size:
            return
        low, high = float(values.min()), float(values.max())
        if not np.isfinite(low) or not np.isfinite(high):
            raise ValueError("NaN or infinity")
        self.low, self.high = min(self.low, low), max(self.high, high)
        if self.high - self.low > LARGEST:
            raise ValueError(f"values from {self.low:g} to {self.high:g} (too far apart for float32)")


@dataclass(frozen=True)
class Histogram:
    """Counts of values in `BINS` equal bins from `low` ≤ 0 to `high` ≥ 0, since an INT8 range contains 0.

    Attributes:
        low, high: ends of the range.
        counts: (BINS,) int64; bin b has low + b · width ≤ x < low + (b + 1) · width; the last one has
            x = high too.
    """

    low: float
    high: float
    counts: npt.NDArray[np.int64]

    @classmethod
    def empty(cls, observed: MinMax) -> Histogram:
        return cls(min(observed.low, 0.0), max(observed.high, 0.0), np.zeros(BINS, np.int64))

    @property
    def width(self) -> float:
        """Width of a bin."""
        return (self.high - self.low) / BINS

    @property
    def centres(self) -> npt.NDArray[np.float64]:
        """Middle of each bin: (BINS,)."""
        return self.low + self.width * (np.arange(BINS, dtype=np.float64) + 0.5)

    @property
    def zero(self) -> int:
        """Index of the bin that contains exact zeros."""
        return int(self._bins_of(np.zeros(1, np.float32))[0])

    def add(self, values: FloatArray) -> None:
        """Count `values`, which must be between `low` and `high`."""
        self.counts[:] += np.bincount(self._bins_of(values.reshape(-1)), minlength=BINS)

    def _bins_of(self, values: FloatArray) -> npt.NDArray[np.intp]:
        """Index of the bin of each value: (N,) → (N,)."""
        if self.width < TINY:
            return np.zeros(len(values), np.intp)
        scaled = (values - np.float32(self.low)) * np.float32(1 / self.width)
        return np.minimum(scaled.astype(np.intp), BINS - 1)
