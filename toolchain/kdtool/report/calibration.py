"""Whether a model's probabilities mean what they say: the reliability curve.

Answers are sorted into ten bins by their probability; in a calibrated model the share of right answers
in a bin is its mean probability. The expected calibration error is the mean distance of the two,
weighted by the bins' sizes: ECE = Σ n_b / N · |accuracy_b − confidence_b|. Source: C. Guo et al., On
Calibration of Modern Neural Networks, ICML 2017, equations 2 and 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kdtool.report.charts.axis import axis
from kdtool.report.charts.chart import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Chart, Line, Mark
from kdtool.results.predictions import Predicted
from kdtool.results.statistics import wilson

BINS = 10


@dataclass(frozen=True)
class Bin:
    """Answers of about one probability: their mean probability, the share that is right, its interval."""

    n_images: int
    confidence: float
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True)
class Calibration:
    """The curve of one model; `error` is the ECE, `bias` mean probability minus accuracy, both fractions."""

    error: float
    bias: float
    n_images: int
    bins: tuple[Bin, ...]


def calibration(labels: Sequence[str], answers: Predicted) -> Calibration:
    """Bins that hold no answer are left out."""
    right = [label == answer for label, answer in zip(labels, answers.predicted, strict=True)]
    total = len(right)
    bins = []
    for number in range(BINS):
        inside = [row for row, p in enumerate(answers.probability) if min(int(p * BINS), BINS - 1) == number]
        if inside:
            correct = sum(right[row] for row in inside)
            confidence = sum(answers.probability[row] for row in inside) / len(inside)
            interval = wilson(correct, len(inside))
            bins.append(Bin(len(inside), confidence, correct / len(inside), *interval))
    error = sum(one.n_images / total * abs(one.accuracy - one.confidence) for one in bins)
    return Calibration(error, sum(answers.probability) / total - sum(right) / total, total, tuple(bins))


def calibration_chart(name: str, style: str, found: Calibration) -> Chart:
    """Accuracy against probability, one mark a bin, and the diagonal of a calibrated model."""
    x = axis(0.0, 1.0, LEFT, WIDTH - RIGHT)
    y = axis(0.0, 1.0, HEIGHT - BOTTOM, TOP)
    said = "; ".join(f"{one.accuracy:.0%} right at {one.confidence:.0%}" for one in found.bins)
    return Chart(
        title=name,
        x_name="Probability of the answer",
        y_name="Share that is right",
        description=f"Calibration of {name}. {said}.",
        x_ticks=x.ticks(percent=True),
        y_ticks=y.ticks(percent=True),
        lines=(Line("calibrated", "ideal", ((x.at(0), y.at(0)), (x.at(1), y.at(1)))),),
        marks=tuple(
            Mark(
                name="",
                style=style,
                x=x.at(one.confidence),
                y=y.at(one.accuracy),
                low=y.at(one.low),
                high=y.at(one.high),
                label_x=x.at(one.confidence),
                label_y=y.at(one.accuracy),
                anchor="start",
            )
            for one in found.bins
        ),
    )
