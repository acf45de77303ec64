"""The mistakes of a model: confusion matrix and the worst mistakes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from kdtool.results.predictions import Predicted, Predictions


@dataclass(frozen=True)
class Cell:
    """One cell of a confusion matrix: a count, and its share of the images of the true class."""

    count: int
    share: float
    correct: bool


@dataclass(frozen=True)
class Confused:
    """A pair of classes: `count` of the `n_images` images of class `true` were taken for `taken_for`."""

    true: str
    taken_for: str
    count: int
    n_images: int


@dataclass(frozen=True)
class Mistake:
    """One wrong prediction, with its row in predictions.csv and its probability."""

    row: int
    path: str
    true: str
    taken_for: str
    probability: float


def classes_of(predictions: Predictions, outputs: Predicted) -> tuple[str, ...]:
    """List every class of a label or a prediction, in alphabetical order."""
    return tuple(sorted({*predictions.labels, *outputs.predicted}))


def confusion(labels: tuple[str, ...], outputs: Predicted, classes: tuple[str, ...]) -> list[list[Cell]]:
    """Make the confusion matrix: a row for each true class, a column for each predicted class."""
    counts = Counter(zip(labels, outputs.predicted, strict=True))
    shown = Counter(labels)
    return [
        [
            Cell(counts[true, taken], counts[true, taken] / max(shown[true], 1), true == taken)
            for taken in classes
        ]
        for true in classes
    ]


def most_confused(labels: tuple[str, ...], outputs: Predicted, limit: int) -> list[Confused]:
    """List the pairs of classes that are confused most often, in falling order; ties by name."""
    shown = Counter(labels)
    pairs = Counter(pair for pair in zip(labels, outputs.predicted, strict=True) if pair[0] != pair[1])
    ranked = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))[:limit]
    return [Confused(true, taken, count, shown[true]) for (true, taken), count in ranked]


def worst_mistakes(predictions: Predictions, outputs: Predicted, limit: int) -> list[Mistake]:
    """List the wrong predictions with the highest probability first; ties in the order of the file."""
    wrong = [
        Mistake(row, path, true, taken, probability)
        for row, (path, true, taken, probability) in enumerate(
            zip(predictions.paths, predictions.labels, outputs.predicted, outputs.probability, strict=True)
        )
        if true != taken
    ]
    return sorted(wrong, key=lambda mistake: -mistake.probability)[:limit]
