"""Geometry of the charts of the report: turns numbers into coordinates of a fixed drawing area.

The template draws the charts as SVG; this module knows nothing about markup. y grows downwards, as in SVG.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kdtool.report.charts.axis import Tick, axis
from kdtool.results.history import History

WIDTH, HEIGHT = 400, 270
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 14, 42


@dataclass(frozen=True)
class Line:
    """A curve; `style` is the class in the style sheet."""

    name: str
    style: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Mark:
    """A measured point with its interval (`low` and `high` are heights) and the place of its label."""

    name: str
    style: str
    x: float
    y: float
    low: float
    high: float
    label_x: float
    label_y: float
    anchor: str


@dataclass(frozen=True)
class Chart:
    """A drawing of WIDTH × HEIGHT; `best` is the point that gets a ring, if any."""

    title: str
    x_name: str
    y_name: str
    description: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...] = ()
    marks: tuple[Mark, ...] = ()
    best: tuple[float, float] | None = None


def curves(history: History) -> tuple[Chart, Chart]:
    """Draw loss and accuracy over the epochs: the two halves of a figure of the paper."""
    best = history.best
    epoch, last = history.epochs[best], history.epochs[-1]
    loss = _curve(
        "Loss", history, history.train_loss, history.validation_loss,
        f"Loss over {last} epochs: the validation loss went from {history.validation_loss[0]:.3g} "
        f"to {history.validation_loss[-1]:.3g}.",
    )  # fmt: skip
    accuracy = _curve(
        "Accuracy", history, history.train_accuracy, history.validation_accuracy,
        f"Top-1 accuracy over {last} epochs: the validation accuracy went from "
        f"{history.validation_accuracy[0]:.1%} to its best value, {history.validation_accuracy[best]:.1%}, "
        f"at epoch {epoch}.",
    )  # fmt: skip
    return loss, accuracy


def _curve(
    name: str, history: History, train: Sequence[float], validation: Sequence[float], description: str
) -> Chart:
    first, last = history.epochs[0], history.epochs[-1]
    x = axis(float(first), float(max(last, first + 1)), LEFT, WIDTH - RIGHT, whole=True)
    accuracy = name == "Accuracy"
    lowest = min(*train, *validation) if accuracy else 0.0
    y = axis(lowest, max(*train, *validation), HEIGHT - BOTTOM, TOP)
    best = history.best
    return Chart(
        title=name,
        x_name="Epoch",
        y_name=name,
        description=description,
        x_ticks=x.ticks(),
        y_ticks=y.ticks(percent=accuracy),
        lines=tuple(
            Line(
                label,
                label,
                tuple((x.at(e), y.at(v)) for e, v in zip(history.epochs, values, strict=True)),
            )
            for label, values in (("training", train), ("validation", validation))
        ),
        best=(x.at(history.epochs[best]), y.at(validation[best])),
    )
