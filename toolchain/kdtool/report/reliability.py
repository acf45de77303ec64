"""The reliability curve of a model: whether its probabilities can be trusted.

Predictions are sorted into ten bins by their probability. In a bin of a calibrated model, the share of right
predictions equals the mean probability. The expected calibration error is the mean distance between the two,
weighted by the sizes of the bins: ECE = Σ n_b / N · |accuracy_b − confidence_b|. Source: C. Guo et al., On
Calibration of Modern Neural Networks, ICML 2017, equations 2 and 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kdtool.report.charts.axis import axis
from kdtool.report.charts.chart import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Chart, Line, Mark
from kdtool.results.predictions import Predicted
from kdtool.results.statistics.accuracy import wilson

BINS = 10


@dataclass(frozen=True)
class Bin:
    """Predictions of about the same probability.

    Attributes:
        confidence: mean probability.
        accuracy: share of right predictions, with the interval from `low` to `high`.
    """

    n_images: int
    confidence: float
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True)
class ReliabilityCurve:
    """The curve of one model; `error` is the ECE, `bias` mean probability minus accuracy, both fractions."""

    error: float
    bias: float
    n_images: int
    bins: tuple[Bin, ...]


def reliability_curve(labels: Sequence[str], outputs: Predicted) -> ReliabilityCurve:
    """Compute the curve; bins without a prediction are left out."""
    right = [label == predicted for label, predicted in zip(labels, outputs.predicted, strict=True)]
    total = len(right)
    bins = []
    for number in range(BINS):
        inside = [row for row, p in enumerate(outputs.probability) if min(int(p * BINS), BINS - 1) == number]
        if inside:
            correct = sum(right[row] for row in inside)
            confidence = sum(outputs.probability[row] for row in inside) / len(inside)
            interval = wilson(correct, len(inside))
            bins.append(Bin(len(inside), confidence, correct / len(inside), *interval))
    error = sum(part.n_images / total * abs(part.accuracy - part.confidence) for part in bins)
    bias = sum(outputs.probability) / total - sum(right) / total
    return ReliabilityCurve(error, bias, total, tuple(bins))


def reliability_chart(name: str, style: str, curve: ReliabilityCurve) -> Chart:
    """Draw accuracy against probability, one mark for each bin, and the diagonal of a calibrated model."""
    x = axis(0.0, 1.0, LEFT, WIDTH - RIGHT)
    y = axis(0.0, 1.0, HEIGHT - BOTTOM, TOP)
    values = "; ".join(f"{part.accuracy:.0%} right at {part.confidence:.0%}" for part in curve.bins)
    return Chart(
        title=name,
        x_name="Probability of the prediction",
        y_name="Share of right predictions",
        description=f"Calibration of {name}. {values}.",
        x_ticks=x.ticks(percent=True),
        y_ticks=y.ticks(percent=True),
        lines=(Line("calibrated", "ideal", ((x.at(0), y.at(0)), (x.at(1), y.at(1)))),),
        marks=tuple(
            Mark(
                name="",
                style=style,
                x=x.at(part.confidence),
                y=y.at(part.accuracy),
                low=y.at(part.low),
                high=y.at(part.high),
                label_x=x.at(part.confidence),
                label_y=y.at(part.accuracy),
                anchor="start",
            )
            for part in curve.bins
        ),
    )
