"""What calibration remembers of an activation: its min–max range, and how often which value occurred.

Memory is a few kilobytes a tensor, however many images pass: two numbers, then `BINS` counts between
them. Both are sums and extremes of whole numbers of values, so that the result does not depend on how the
images are divided into chunks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kdtool.core.preprocess import FloatArray

BINS = 4096  # 16 to each of the 256 levels of 8 bits
LARGEST = float(np.finfo(np.float32).max)
TINY = 1e-36  # a width whose reciprocal float32 cannot hold: all is one point
Range = tuple[float, float]


@dataclass
class MinMax:
    """Observer of the smallest and the largest value, float32."""

    low: float = float("inf")
    high: float = float("-inf")

    def add(self, values: FloatArray) -> None:
        """Take the values in.

        Raises:
            ValueError: a value is NaN or infinite, or the ends lie further apart than float32 reaches.
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
    """Counts of values in `BINS` equal bins from `low` ≤ 0 to `high` ≥ 0: 8 bits always span 0.

    Attributes:
        counts: (BINS,) int64; bin b holds low + b · width ≤ x < low + (b + 1) · width, the last one high too.
    """

    low: float
    high: float
    counts: npt.NDArray[np.int64]

    @classmethod
    def empty(cls, observed: MinMax) -> Histogram:
        return cls(min(observed.low, 0.0), max(observed.high, 0.0), np.zeros(BINS, np.int64))

    @property
    def width(self) -> float:
        """Of a bin."""
        return (self.high - self.low) / BINS

    @property
    def centres(self) -> npt.NDArray[np.float64]:
        """(BINS,) the middle of each bin."""
        return self.low + self.width * (np.arange(BINS, dtype=np.float64) + 0.5)

    @property
    def zero(self) -> int:
        """The bin that every exact 0 falls into."""
        return int(self._bins_of(np.zeros(1, np.float32))[0])

    def add(self, values: FloatArray) -> None:
        """Count `values`, all of them between `low` and `high`."""
        self.counts[:] += np.bincount(self._bins_of(values.reshape(-1)), minlength=BINS)

    def _bins_of(self, values: FloatArray) -> npt.NDArray[np.intp]:
        """(N,) values → the bin of each."""
        if self.width < TINY:
            return np.zeros(len(values), np.intp)
        scaled = (values - np.float32(self.low)) * np.float32(1 / self.width)
        return np.minimum(scaled.astype(np.intp), BINS - 1)
