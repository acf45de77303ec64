"""Figures of each epoch of a training: the content of history.csv."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from kdtool.core.errors import DataError

COLUMNS = (
    "epoch",
    "train_loss",
    "train_accuracy",
    "validation_loss",
    "validation_accuracy",
    "lr",
    "images_per_second",
    "seconds",
)


@dataclass(frozen=True)
class History:
    """Figures of one training; the tuples have one entry for each epoch. Accuracies are in [0, 1]."""

    epochs: tuple[int, ...]
    train_loss: tuple[float, ...]
    train_accuracy: tuple[float, ...]
    validation_loss: tuple[float, ...]
    validation_accuracy: tuple[float, ...]
    seconds: tuple[float, ...]

    @property
    def best(self) -> int:
        """Index of the first epoch with the highest validation accuracy, whose weights are kept."""
        return self.validation_accuracy.index(max(self.validation_accuracy))


def read_history(path: Path) -> History:
    """Read history.csv from the file `path`.

    Raises:
        DataError: the file cannot be read, has no epoch, or a column or a number is missing.
    """
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        if not rows:
            raise ValueError("it has no epoch")
        columns = {name: tuple(float(row[name]) for row in rows) for name in COLUMNS}
    except KeyError as error:
        raise _broken(path, f"it has no column {error}") from error
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise _broken(path, str(error)) from error
    return History(
        epochs=tuple(int(epoch) for epoch in columns["epoch"]),
        train_loss=columns["train_loss"],
        train_accuracy=columns["train_accuracy"],
        validation_loss=columns["validation_loss"],
        validation_accuracy=columns["validation_accuracy"],
        seconds=columns["seconds"],
    )


def _broken(path: Path, cause: str) -> DataError:
    return DataError(
        f"{path} is not a training history ({cause}); its columns are {', '.join(COLUMNS)}.",
        "Remove the folder of the file and train again with: kdtool run DATA",
    )
