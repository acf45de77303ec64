"""The mistakes of a model: confusion matrix, per-class accuracy, the worst mistakes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from kdtool.results.predictions import Predicted, Predictions
from kdtool.results.statistics import wilson


@dataclass(frozen=True)
class ClassScore:
    """The accuracy on one class; accuracies are fractions, `low` to `high` the 95 % Wilson interval."""

    name: str
    n_images: int
    correct: int
    accuracy: float
    low: float
    high: float
    teacher: float | None


@dataclass(frozen=True)
class Cell:
    """One cell of a confusion matrix: a count, and its share of the true class's images."""

    count: int
    share: float
    correct: bool


@dataclass(frozen=True)
class Confused:
    """`count` of the `n_images` images of class `true` were taken for `taken_for`."""

    true: str
    taken_for: str
    count: int
    n_images: int


@dataclass(frozen=True)
class Mistake:
    """One wrong answer: `row` in the predictions, and how sure the model was of it."""

    row: int
    path: str
    true: str
    taken_for: str
    probability: float


def classes_of(predictions: Predictions, answers: Predicted) -> tuple[str, ...]:
    """Every class that was shown or answered, in alphabetical order."""
    return tuple(sorted({*predictions.labels, *answers.predicted}))


def confusion(labels: tuple[str, ...], answers: Predicted, classes: tuple[str, ...]) -> list[list[Cell]]:
    """Rows are true classes, columns predicted ones, in the order of `classes`."""
    counts = Counter(zip(labels, answers.predicted, strict=True))
    shown = Counter(labels)
    return [
        [
            Cell(counts[true, taken], counts[true, taken] / max(shown[true], 1), true == taken)
            for taken in classes
        ]
        for true in classes
    ]


def most_confused(labels: tuple[str, ...], answers: Predicted, limit: int) -> list[Confused]:
    """The pairs confused most often, most first; ties by name."""
    shown = Counter(labels)
    pairs = Counter(pair for pair in zip(labels, answers.predicted, strict=True) if pair[0] != pair[1])
    ranked = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))[:limit]
    return [Confused(true, taken, count, shown[true]) for (true, taken), count in ranked]


def class_scores(
    labels: tuple[str, ...], answers: Predicted, classes: tuple[str, ...], teacher: Predicted | None
) -> list[ClassScore]:
    """One score a class that was shown, the least known first."""
    shown = Counter(labels)
    correct = _correct(labels, answers)
    taught = _correct(labels, teacher) if teacher else None
    scores = [
        ClassScore(
            name,
            shown[name],
            correct[name],
            correct[name] / shown[name],
            *wilson(correct[name], shown[name]),
            teacher=taught[name] / shown[name] if taught is not None else None,
        )
        for name in classes
        if shown[name]
    ]
    return sorted(scores, key=lambda score: score.accuracy)


def worst_mistakes(predictions: Predictions, answers: Predicted, limit: int) -> list[Mistake]:
    """The wrong answers given with the most confidence, most first; ties in the order of the file."""
    wrong = [
        Mistake(row, path, true, taken, probability)
        for row, (path, true, taken, probability) in enumerate(
            zip(predictions.paths, predictions.labels, answers.predicted, answers.probability, strict=True)
        )
        if true != taken
    ]
    return sorted(wrong, key=lambda mistake: -mistake.probability)[:limit]


def _correct(labels: tuple[str, ...], answers: Predicted) -> Counter[str]:
    return Counter(true for true, taken in zip(labels, answers.predicted, strict=True) if true == taken)
