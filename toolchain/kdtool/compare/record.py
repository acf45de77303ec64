"""File students.json: the settings of each student, so that a name has one meaning in a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kdtool.compare.entries import Entry
from kdtool.compare.trainings import students_folder
from kdtool.core.errors import UsageError
from kdtool.recipe.files import flatten, parse_recipe
from kdtool.runs.comparison import read_students, write_students
from kdtool.runs.folder import RunFolder


def require_same_students(run: RunFolder, entries: Sequence[Entry]) -> None:
    """Refuse changed settings of an existing student; only its number of epochs may grow.

    Raises:
        UsageError: a setting differs (the message names all of them), or the record cannot be read.
    """
    recorded = read_students(run)
    changed = [
        f"  {entry.name}: {key}: {old!r} in the folder, {new!r} in the recipe"
        for entry in entries
        if entry.name in recorded and students_folder(run.path, entry.name).is_dir()
        for key, old, new in _changes(recorded[entry.name], entry)
    ]
    if changed:
        raise UsageError(
            "\n".join([f"{run.path}: its students were trained with other settings.", *changed]),
            f"Use another folder with the same teacher: --out DIR --teacher {run.weights('teacher')}",
        )


def record_students(run: RunFolder, entries: Sequence[Entry]) -> None:
    """Add the settings of `entries` to the record."""
    before = read_students(run)
    students = before | {entry.name: entry.student.model_dump(mode="json") for entry in entries}
    if students != before:
        write_students(run, students)


def _changes(recorded: Mapping[str, Any], entry: Entry) -> list[tuple[str, Any, Any]]:
    # Parsed as a recipe, so that fields that are newer than the record get their default.
    parsed = parse_recipe({"name": entry.name, "student": recorded}, entry.name)
    old, new = (flatten(student.model_dump(mode="json")) for student in (parsed.student, entry.student))
    return [
        (key, old.get(key), new.get(key))
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key) and not (key == "epochs" and new[key] > old[key])
    ]
