"""Record of a comparison: `students.json` with the settings of each student, which a run does not have."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from kdtool.core.errors import UsageError
from kdtool.core.files import write_json
from kdtool.core.spelling import assigned
from kdtool.runs.folder import ROLES, RunFolder

SCHEMA = 1


def read_students(run: RunFolder) -> dict[str, Any]:
    """Read the settings of each student by its name; empty if there is no record.

    Raises:
        UsageError: kdtool did not write the record, or another version did.
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
            f"{run.students_record} cannot be read ({error}).",
            f"Restore it, or choose another folder: {assigned({'out': 'DIR'})}",
        ) from error


def write_students(run: RunFolder, students: Mapping[str, Any]) -> None:
    """Write the record; from then on the folder is the folder of a comparison."""
    write_json(run.students_record, {"schema": SCHEMA, "students": students})


def require_run(run: RunFolder) -> None:
    """Raise UsageError if the folder is that of a comparison, since its students belong to no run."""
    if run.is_comparison:
        raise UsageError(
            f"{run.path} is the folder of a comparison, not of a run.",
            f"Make a run with the same teacher: kdtool run DATA --out DIR --teacher {run.weights('teacher')}",
        )


def require_comparison(run: RunFolder) -> None:
    """Raise UsageError if the folder is that of a run, which a comparison would hide."""
    begun = run.record.is_file() or any(run.role(role).is_dir() for role in ROLES)
    if begun and not run.is_comparison:
        raise UsageError(
            f"{run.path} is the folder of a run, not of a comparison.",
            f"Use the same teacher in another folder: "
            f"{assigned({'out': 'DIR', 'teacher.trained': run.weights('teacher')})}",
        )
