"""Predictions of each model for each test image: predictions.csv, from bench to the report."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kdtool.core.errors import DataError
from kdtool.results.statistics.accuracy import wilson


@dataclass(frozen=True)
class Predicted:
    """Predictions of one model for each test image: the class, and its probability in [0, 1]."""

    predicted: tuple[str, ...]
    probability: tuple[float, ...]


@dataclass(frozen=True)
class ClassAccuracy:
    """The accuracy on one class, as a fraction, with the 95 % Wilson interval from `low` to `high`.

    Attributes:
        teacher: accuracy of the teacher on this class; None without a teacher.
    """

    name: str
    n_images: int
    correct: int
    accuracy: float
    low: float
    high: float
    teacher: float | None


@dataclass(frozen=True)
class Predictions:
    """Paths and labels of the test images, and the predictions of each model in the same order."""

    paths: tuple[str, ...]
    labels: tuple[str, ...]
    models: Mapping[str, Predicted]

    def to_csv(self) -> str:
        """Format as CSV: columns `path,label`, then `<model>` and `<model>_probability` for each model."""
        columns: dict[str, tuple[str, ...]] = {"path": self.paths, "label": self.labels}
        for name, model in self.models.items():
            columns[name] = model.predicted
            columns[f"{name}_probability"] = tuple(f"{value:.6f}" for value in model.probability)
        stream = io.StringIO(newline="")
        csv.writer(stream, lineterminator="\n").writerows(
            [columns, *zip(*columns.values(), strict=True)],
        )
        return stream.getvalue()


def read_predictions(path: Path) -> Predictions:
    """Read predictions.csv from the file `path`.

    Raises:
        DataError: the file cannot be read, has no row, or a column or a value is missing.
    """
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            header, *rows = list(csv.reader(stream)) or [[]]
        if header[:2] != ["path", "label"] or not rows:
            raise ValueError("it has no rows, or does not begin with the columns path and label")
        columns = dict(zip(header, zip(*rows, strict=True), strict=True))
        models = {
            name: Predicted(columns[name], tuple(float(value) for value in columns[f"{name}_probability"]))
            for name in header[2::2]
        }
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise DataError(
            f"{path} is not a table of predictions ({error}).",
            f"Write it again with: kdtool bench {path.parent}",
        ) from error
    return Predictions(columns["path"], columns["label"], models)


def class_accuracies(
    labels: Sequence[str], outputs: Predicted, teacher: Predicted | None = None
) -> list[ClassAccuracy]:
    """Compute the accuracy on each class that has images, lowest accuracy first; ties by name."""
    shown = Counter(labels)
    correct = _correct(labels, outputs)
    teacher_correct = _correct(labels, teacher) if teacher else None
    scores = [
        ClassAccuracy(
            name,
            shown[name],
            correct[name],
            correct[name] / shown[name],
            *wilson(correct[name], shown[name]),
            teacher=teacher_correct[name] / shown[name] if teacher_correct is not None else None,
        )
        for name in sorted(shown)
    ]
    return sorted(scores, key=lambda score: score.accuracy)


def _correct(labels: Sequence[str], outputs: Predicted) -> Counter[str]:
    return Counter(true for true, taken in zip(labels, outputs.predicted, strict=True) if true == taken)
