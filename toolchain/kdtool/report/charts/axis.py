"""Linear axes with round ticks."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: its coordinate and its text."""

    at: float
    text: str


@dataclass(frozen=True)
class Axis:
    """A linear axis: values `start` to `stop` at coordinates `begin` to `end`, ticks every `step`."""

    start: float
    stop: float
    step: float
    begin: float
    end: float

    def at(self, value: float) -> float:
        return round(
            self.begin + (value - self.start) / (self.stop - self.start) * (self.end - self.begin), 2
        )

    def ticks(self, percent: bool = False) -> tuple[Tick, ...]:
        scale, unit = (100, "\u00a0%") if percent else (1, "")
        decimals = max(0, -math.floor(math.log10(self.step * scale) + 1e-9))
        first = math.ceil(self.start / self.step - 1e-6)
        last = math.floor(self.stop / self.step + 1e-6)
        values = [number * self.step for number in range(first, last + 1)]
        return tuple(Tick(self.at(value), f"{value * scale:.{decimals}f}{unit}") for value in values)


def axis(low: float, high: float, begin: float, end: float, whole: bool = False) -> Axis:
    """Make an axis with about five steps of 1, 2 or 5, from a round value below `low` to one above `high`.

    Args:
        whole: True keeps the range from `low` to `high` and puts ticks at whole numbers.
    """
    if high <= low:
        low, high = low - abs(low) * 0.05 - 1e-3, high + abs(high) * 0.05 + 1e-3
    step = _round_step((high - low) / 5)
    if whole:  # such as epochs
        return Axis(low, high, max(1.0, step), begin, end)
    start = math.floor(low / step + 1e-9) * step
    return Axis(start, start + math.ceil((high - start) / step - 1e-9) * step, step, begin, end)


def _round_step(raw: float) -> float:
    power = 10.0 ** math.floor(math.log10(raw))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))
