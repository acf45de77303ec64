"""What tells the folder of a comparison from that of a run: `students.json`, the settings under each name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from kdtool.core.errors import UsageError
from kdtool.core.files import write_json
from kdtool.runs.folder import ROLES, RunFolder

SCHEMA = 1


def read_students(run: RunFolder) -> dict[str, Any]:
    """Name → settings of each student; empty where there is no record.

    Raises:
        UsageError: it is not one of ours.
    """
    try:
        content = json.loads(run.students_record.read_text("utf-8"))
        if content["schema"] != SCHEMA:
            raise ValueError("written by another version of kdtool")
        return dict(content["students"])
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(
            f"{run.students_record} cannot be read ({error}).", "Restore it, or choose another --out DIR."
        ) from error


def write_students(run: RunFolder, students: Mapping[str, Any]) -> None:
    """Write the record, which makes the folder a comparison's."""
    write_json(run.students_record, {"schema": SCHEMA, "students": students})


def require_run(run: RunFolder) -> None:
    """Raise UsageError if the folder is a comparison's: a student written there would belong to no run."""
    if run.is_comparison:
        raise UsageError(
            f"{run.path} is a comparison, which has many students, and no run.",
            f"A run of the same teacher: kdtool run DATA --out DIR --teacher {run.weights('teacher')}",
        )


def require_comparison(run: RunFolder) -> None:
    """Raise UsageError if the folder is a run's: with a comparison in it, it would be found no more."""
    begun = run.record.is_file() or any(run.role(role).is_dir() for role in ROLES)
    if begun and not run.is_comparison:
        raise UsageError(
            f"{run.path} is a run of its own, and no comparison.",
            f"Another folder, the same teacher: --out DIR --teacher {run.weights('teacher')}",
        )
