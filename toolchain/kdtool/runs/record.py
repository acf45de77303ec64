"""The job that a command does on a run, and the run's record, which says what was done so far.

A trained network may be trained for longer; any other change of what decided on it wants a new folder.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdtool.core.errors import UsageError
from kdtool.core.screen import Screen
from kdtool.machine.packages import versions_of
from kdtool.recipe.files import flatten, parse_recipe
from kdtool.recipe.settings import Recipe
from kdtool.runs.folder import ROLES, SCHEMA, RunFolder

# section of the record → the networks that it decides on
TRAINED_SECTIONS = {
    "seed": ROLES,
    "data": ROLES,
    "teacher": ("teacher",),
    "student": ("student", "baseline"),
}
NO_PART_IN_RESULTS = {"data.cache"}  # may change at any time


@dataclass(frozen=True)
class Job:
    """A run and everything its stages are a function of.

    Attributes:
        source: where the photographs are (a folder, a manifest, the name of a data set).
    """

    run: RunFolder
    recipe: Recipe
    seed: int
    source: str
    screen: Screen


def read_record(run: RunFolder) -> dict[str, Any] | None:
    """The content of run.json; None where the run has none yet."""
    return run.read_record() if run.record.is_file() else None


def record_settings(job: Job) -> None:
    """Write the recipe as it now is into run.json, so that the record says what was done."""
    record = job.run.read_record()
    if record["recipe"] != job.recipe.to_json():
        job.run.write_record({**record, "recipe": job.recipe.to_json()})


def record_data(job: Job, classes: Sequence[str], digest: str) -> None:
    """Write run.json of a job whose photographs are prepared.

    Args:
        digest: of the prepared photographs.
    """
    record = {
        "recipe": job.recipe.to_json(),
        "seed": job.seed,
        "source": job.source,
        "classes": list(classes),
        "data": digest,
        "versions": versions_of(),
    }
    if read_record(job.run) != {"schema": SCHEMA, **record}:
        job.run.write_record(record)


def same_pixels(job: Job, record: Mapping[str, Any]) -> bool:
    """Whether the run was prepared with the job's settings, but for where its pictures are kept."""
    before, now = parse_recipe(record["recipe"], str(job.run.record)).data, job.recipe.data
    return before.model_copy(update={"cache": now.cache}) == now


def begun(run: RunFolder, roles: Iterable[str] = ROLES) -> bool:
    """Whether any of these networks has been trained, or has begun to be."""
    return any(run.role(role).is_dir() for role in roles)


def require_apart(job: Job) -> None:
    """Raise UsageError if the run lies among the photographs: it would become one of their classes."""
    source, run = Path(job.source), job.run.path.resolve()
    if source.is_dir() and run.is_relative_to(source):
        raise UsageError(
            f"The run would lie among the photographs: {job.run.path} is inside {source}.",
            f"Choose a folder outside with --out, such as --out {source.parent / (source.name + '-run')}",
        )


def require_same_training(job: Job, record: Mapping[str, Any]) -> None:
    """Raise UsageError if the job changes what a network of the run was trained with."""
    recorded = parse_recipe(record["recipe"], str(job.run.record))  # fields that are newer have their default
    old = flatten(recorded.to_json()) | {"seed": record["seed"]}
    new = flatten(job.recipe.to_json()) | {"seed": job.seed}
    changed = [
        f"  {key}: {old.get(key)!r} in the run, {new.get(key)!r} asked for"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key) and _is_frozen(job, key, old.get(key), new.get(key))
    ]
    if changed:
        raise UsageError(
            "\n".join([f"{job.run.path} was trained otherwise.", *changed]),
            "Choose another folder with --out DIR, or keep the run's own settings (more epochs are allowed, "
            "but not in the middle of a training whose learning rate falls towards the last).",
        )


def _is_frozen(job: Job, key: str, old: Any, new: Any) -> bool:
    if key in NO_PART_IN_RESULTS:
        return False
    section, _, field = key.partition(".")
    if section == "teacher" and job.recipe.teacher.trained and field != "trained":
        return False  # how a brought teacher would have been trained has no part in it
    roles = TRAINED_SECTIONS.get(section, ())
    if field == "epochs" and isinstance(old, int) and isinstance(new, int) and new > old:
        schedule = getattr(job.recipe, section).schedule
        return schedule != "constant" and any(_unfinished(job.run, role) for role in roles)
    return begun(job.run, roles)


def _unfinished(run: RunFolder, role: str) -> bool:
    """Whether a network is in the middle of its training."""
    return any(run.role(role).glob("checkpoints/*")) and not (run.role(role) / "manifest.json").is_file()
