"""CSV files of a comparison: its table, and all trainings.

Accuracies are fractions, differences are percentage points.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from kdtool.compare.evaluation import TEACHER
from kdtool.compare.result import Comparison, Difference, Row, SeedMean

DIFFERENCE = ("points", "sd", "seeds_low", "seeds_high", "images_low", "images_high")
TABLE_COLUMNS = (
    "role", "name", "best", "seeds", "validation_mean", "validation_sd", "test_mean", "test_sd",
    "test_balanced_accuracy_mean", "test_balanced_accuracy_sd", "test_macro_f1_mean", "test_macro_f1_sd",
    *(f"gain_{part}" for part in DIFFERENCE), "over_kd_than", *(f"over_kd_{part}" for part in DIFFERENCE),
    *(f"over_probe_{part}" for part in DIFFERENCE),
    "gap_closed", "seconds", "epochs_at_most",
)  # fmt: skip
TRAININGS_COLUMNS = (
    "role", "name", "seed", "validation_accuracy", "test_accuracy", "test_balanced_accuracy", "test_macro_f1",
    "best_epoch", "epochs", "seconds",
    "failed",
)  # fmt: skip


def table_csv(result: Comparison) -> str:
    """Write one row for the teacher, each baseline and each recipe, as in the table on the terminal."""
    teacher: list[object] = [TEACHER, result.teacher_arch, None, None]
    for share in _teacher_shares(result):
        teacher += [share, None]  # one teacher has no deviation
    rows: list[list[object]] = [teacher + [None] * (len(TABLE_COLUMNS) - len(teacher))]
    rows += [_row(row) for row in (*result.probes, *result.baselines, *result.recipes)]
    return _csv(TABLE_COLUMNS, rows)


def trainings_csv(result: Comparison) -> str:
    """Write one row for each training; the first row is the teacher."""
    shares = _teacher_shares(result)
    rows: list[list[object]] = [[TEACHER, result.teacher_arch, None, *shares, *[None] * 4]]
    for row in (*result.probes, *result.baselines, *result.recipes):
        for run in row.runs:
            figures_by_class = (run.test_balanced_accuracy, run.test_macro_f1)
            shares = [_decimals(value, 6) for value in (run.validation, run.test, *figures_by_class)]
            figures = (run.best_epoch, run.epochs, _decimals(run.seconds, 1), run.failed)
            rows.append([row.role, row.name, run.seed, *shares, *figures])
    return _csv(TRAININGS_COLUMNS, rows)


def _teacher_shares(result: Comparison) -> list[str | None]:
    by_class = (result.teacher_test_balanced_accuracy, result.teacher_test_macro_f1)
    return [_decimals(value, 6) for value in (result.teacher_validation, result.teacher_test, *by_class)]


def _row(row: Row) -> list[object]:
    return [
        row.role, row.name, int(row.best), len(row.runs), *_mean(row.validation), *_mean(row.test),
        *_mean(row.test_balanced_accuracy), *_mean(row.test_macro_f1),
        *_difference(row.gain), row.over_kd.than if row.over_kd else None, *_difference(row.over_kd),
        *_difference(row.over_probe),
        _decimals(row.gap_closed, 4), _decimals(row.seconds, 1), row.budget,
    ]  # fmt: skip


def _mean(mean: SeedMean | None) -> list[str | None]:
    return [_decimals(value, 6) for value in ((mean.mean, mean.sd) if mean else (None, None))]


def _difference(difference: Difference | None) -> list[str | None]:
    if difference is None:
        return [None] * len(DIFFERENCE)
    seeds = difference.seeds_ci or (None, None)
    figures = (difference.points, difference.sd, *seeds, *difference.images_ci)
    return [_decimals(value, 3) for value in figures]


def _csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerows([columns, *rows])
    return stream.getvalue()


def _decimals(value: float | None, places: int) -> str | None:
    """Format a cell; the csv module writes None as an empty cell."""
    return None if value is None else f"{value:.{places}f}"
