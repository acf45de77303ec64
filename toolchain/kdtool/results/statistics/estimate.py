"""An estimate and its 95 % interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

BoolArray = npt.NDArray[np.bool_]
Interval = tuple[float, float]
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """Value with its 95 % interval, estimated from `n` samples; `of` is the name of these samples.

    The interval is None if there are too few samples for one. `fixed` is the part of half its width that
    further samples would not narrow, in the unit of the value.
    """

    value: float
    interval: Interval | None
    n: int
    of: str
    fixed: float = 0.0


def middle(values: npt.NDArray[np.float64], confidence: float = CONFIDENCE) -> Interval:
    """Interval that holds the middle share `confidence` of the values."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)
