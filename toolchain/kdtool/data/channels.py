"""Mean and standard deviation of each colour channel over the training set, exactly."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from math import sqrt

import numpy as np

from kdtool.core.preprocess import SCALE_LIMIT, UInt8Array

Triple = tuple[float, float, float]


def channel_statistics(images: Iterable[UInt8Array]) -> tuple[Triple, Triple]:
    """mean = Σx / n and std = √(Σx²/n − mean²) of x = v/255, over all pixels, per channel.

    Sums are integers, so the result depends neither on the order nor on how many images there are.
    A channel that is constant, or as good as, has std 1, so that it can be divided by.

    Args:
        images: (H, W, 3) uint8 each; at least one pixel in all.
    """
    counts = np.zeros((3, 256), dtype=np.int64)
    for image in images:
        for channel in range(3):
            counts[channel] += np.bincount(image[..., channel].ravel(), minlength=256)
    pairs = [_statistics([int(count) for count in channel]) for channel in counts]
    (red, green, blue) = pairs
    return (red[0], green[0], blue[0]), (red[1], green[1], blue[1])


def _statistics(histogram: list[int]) -> tuple[float, float]:
    n = sum(histogram)
    total = sum(value * count for value, count in enumerate(histogram))
    squares = sum(value * value * count for value, count in enumerate(histogram))
    variance = Fraction(n * squares - total * total, (255 * n) ** 2)
    std = sqrt(variance)
    return float(Fraction(total, 255 * n)), std if std >= 1 / SCALE_LIMIT else 1.0
