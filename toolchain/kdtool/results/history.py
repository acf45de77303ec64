"""Figures of each epoch of a training: the content of history.csv."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kdtool.core.errors import DataError

COLUMNS = (
    "epoch",
    "train_loss",
    "train_accuracy",
    "validation_loss",
    "validation_accuracy",
    "validation_balanced_accuracy",
    "validation_macro_f1",
    "lr",
    "images_per_second",
    "seconds",
)
KEPT = "kept"  # 1 in the row of the epoch whose weights are kept, otherwise 0
LATER = ("validation_balanced_accuracy", "validation_macro_f1", KEPT)  # columns that older files lack


@dataclass(frozen=True)
class History:
    """Figures of one training; the tuples have one entry for each epoch. Accuracies are in [0, 1].

    Attributes:
        best: index of the epoch whose weights are kept.
    """

    epochs: tuple[int, ...]
    train_loss: tuple[float, ...]
    train_accuracy: tuple[float, ...]
    validation_loss: tuple[float, ...]
    validation_accuracy: tuple[float, ...]
    seconds: tuple[float, ...]
    best: int


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
        columns = {name: tuple(float(row[name]) for row in rows) for name in COLUMNS if name not in LATER}
        kept = [float(row.get(KEPT) or 0) for row in rows]
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
        best=_first_highest(kept if any(kept) else columns["validation_accuracy"]),
    )


def _first_highest(values: Sequence[float]) -> int:
    return values.index(max(values))


def _broken(path: Path, cause: str) -> DataError:
    return DataError(
        f"{path} is not a training history ({cause}); its columns are {', '.join(COLUMNS)}.",
        "Remove the folder of the file and train again with: kdtool run DATA",
    )
