"""students.json: the settings under each name, so that a folder never mixes two meanings of one name."""

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
    """A student may be trained for longer; any other change wants another name or another folder.

    Raises:
        UsageError: names every setting that differs, or the record cannot be read.
    """
    recorded = read_students(run)
    changed = [
        f"  {entry.name}: {key}: {old!r} in the folder, {new!r} asked for"
        for entry in entries
        if entry.name in recorded and students_folder(run.path, entry.name).is_dir()
        for key, old, new in _changes(recorded[entry.name], entry)
    ]
    if changed:
        raise UsageError(
            "\n".join([f"{run.path}: its students were trained otherwise.", *changed]),
            f"Another folder, the same teacher: --out DIR --teacher {run.weights('teacher')}",
        )


def record_students(run: RunFolder, entries: Sequence[Entry]) -> None:
    """Write the settings of `entries` beside those that are there."""
    before = read_students(run)
    students = before | {entry.name: entry.student.model_dump(mode="json") for entry in entries}
    if students != before:
        write_students(run, students)


def _changes(recorded: Mapping[str, Any], entry: Entry) -> list[tuple[str, Any, Any]]:
    # through the recipe, so that fields that are newer than the record have their default
    known = parse_recipe({"name": entry.name, "student": recorded}, entry.name)
    old, new = (flatten(student.model_dump(mode="json")) for student in (known.student, entry.student))
    return [
        (key, old.get(key), new.get(key))
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key) and not (key == "epochs" and new[key] > old[key])
    ]
