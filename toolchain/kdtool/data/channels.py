"""The exact mean and standard deviation of each colour channel over the training set."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from math import sqrt

import numpy as np
import numpy.typing as npt

from kdtool.core.preprocess import SCALE_LIMIT, UInt8Array

Triple = tuple[float, float, float]
Sums = npt.NDArray[np.int64]


def channel_sums(image: UInt8Array) -> Sums:
    """Sum the values v of each channel: n, Σv and Σv², (3, 3) with a row for each channel.

    Args:
        image: (H, W, 3) uint8.
    """
    values = image.reshape(-1, 3).astype(np.int64)
    return np.stack([np.full(3, len(values)), values.sum(0), (values * values).sum(0)], axis=1)


def channel_statistics(sums: Iterable[Sums]) -> tuple[Triple, Triple]:
    """Compute mean = Σx / n and std = √(Σx²/n − mean²) of x = v/255, over all pixels, for each channel.

    The sums are integers, so rounding depends neither on the order nor on the number of images.
    The std of a channel that is (nearly) constant is 1, so that a division by it is safe.

    Args:
        sums: the `channel_sums` of each image; at least one pixel in total.
    """
    total = np.sum(list(sums), axis=0, dtype=object)  # integers of any size
    (red, green, blue) = [_statistics(*channel) for channel in total]
    return (red[0], green[0], blue[0]), (red[1], green[1], blue[1])


def _statistics(n: int, total: int, squares: int) -> tuple[float, float]:
    variance = Fraction(n * squares - total * total, (255 * n) ** 2)
    std = sqrt(variance)
    return float(Fraction(total, 255 * n)), std if std >= 1 / SCALE_LIMIT else 1.0
