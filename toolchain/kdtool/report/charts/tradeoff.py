"""Geometry of the trade-off charts: accuracy against a cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kdtool.report.charts.axis import Axis, axis
from kdtool.report.charts.chart import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Chart, Mark

LABEL_GAP = 16.0
LABEL_BESIDE = 24.0  # distance of a label from its mark
CHARACTER = 7.0  # largest width of a character in a label
MARK_GAP = 7.0


@dataclass(frozen=True)
class Point:
    """One model in a trade-off: its cost, and its accuracy with the interval `low` to `high`, fractions."""

    name: str
    style: str
    cost: float
    accuracy: float
    low: float
    high: float


def trade_off(title: str, x_name: str, models: Sequence[Point]) -> Chart:
    """Draw accuracy against a cost, one mark for each model; only the axis of the cost starts at zero."""
    x = axis(0.0, max(model.cost for model in models) * 1.05, LEFT, WIDTH - RIGHT)
    lowest, highest = min(model.low for model in models), max(model.high for model in models)
    y = axis(lowest, highest, HEIGHT - BOTTOM, TOP)
    values = "; ".join(f"{model.name}: {model.accuracy:.1%} at {model.cost:.3g}" for model in models)
    return Chart(
        title=title,
        x_name=x_name,
        y_name="Top-1 accuracy",
        description=f"{title}. {values}.",
        x_ticks=x.ticks(),
        y_ticks=y.ticks(percent=True),
        marks=_labelled(models, x, y),
    )


def _labelled(models: Sequence[Point], x: Axis, y: Axis) -> tuple[Mark, ...]:
    """Make the marks; labels stand on the side with room and are moved until none covers another."""
    marks: list[Mark] = []
    middle = (LEFT + WIDTH - RIGHT) / 2
    places = _beside([x.at(model.cost) for model in models])
    for left_side in (True, False):
        # The true place decides: marks that were moved keep their labels on one side, so that no lines cross.
        side = [
            pair for pair in zip(models, places, strict=True) if (x.at(pair[0].cost) <= middle) == left_side
        ]
        side.sort(key=lambda pair: -pair[0].accuracy)
        heights = _apart([y.at(model.accuracy) for model, _ in side], TOP + 6, HEIGHT - BOTTOM - 6)
        if not left_side:
            heights = _below([(model.name, at) for model, at in side], heights, marks)
        for (model, at), height in zip(side, heights, strict=True):
            marks.append(
                Mark(
                    name=model.name,
                    style=model.style,
                    x=at,
                    y=y.at(model.accuracy),
                    low=y.at(model.low),
                    high=y.at(model.high),
                    label_x=at + LABEL_BESIDE if left_side else at - LABEL_BESIDE,
                    label_y=height,
                    anchor="start" if left_side else "end",
                )
            )
    return tuple(marks)


def _beside(places: Sequence[float]) -> list[float]:
    """Move each place to the right until it is at least MARK_GAP from all places before it."""
    moved: list[float] = []
    for place in places:
        while any(abs(place - other) < MARK_GAP for other in moved):
            place += MARK_GAP
        moved.append(place)
    return moved


def _below(
    side: Sequence[tuple[str, float]], heights: Sequence[float], others: Sequence[Mark]
) -> list[float]:
    """Move down the labels that end at their marks until they cover no other label; return their heights.

    Args:
        side: name and place of the mark of each label.
        heights: wanted heights of the labels, in increasing order.
        others: marks whose labels begin at the mark.
    """
    placed: list[float] = []
    for (name, at), height in zip(side, heights, strict=True):
        begin = at - LABEL_BESIDE - CHARACTER * len(name)
        reaching = [mark for mark in others if mark.label_x + CHARACTER * len(mark.name) > begin]
        height = max(height, placed[-1] + LABEL_GAP if placed else height)
        for other in sorted(reaching, key=lambda mark: mark.label_y):
            if abs(other.label_y - height) < LABEL_GAP:
                height = other.label_y + LABEL_GAP
        placed.append(height)
    return placed


def _apart(heights: Sequence[float], top: float, bottom: float) -> list[float]:
    """Move heights in increasing order as little as possible, so that they are inside and LABEL_GAP apart."""
    placed: list[float] = []
    for height in heights:
        placed.append(max(height, placed[-1] + LABEL_GAP if placed else top))
    limit = bottom
    for index in range(len(placed) - 1, -1, -1):
        placed[index] = min(placed[index], limit)
        limit = placed[index] - LABEL_GAP
    return placed
