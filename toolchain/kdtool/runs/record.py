"""Job of a command on a run, and the record of the run (run.json): its recipe, seed, source and classes.

A trained network may be trained for more epochs; any other change of its settings needs a new folder.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdtool.core.errors import UsageError
from kdtool.core.screen import Screen
from kdtool.core.spelling import assigned
from kdtool.machine.packages import versions_of
from kdtool.recipe.files import flatten, parse_recipe
from kdtool.recipe.settings import OF_TRAINING, Recipe
from kdtool.runs.folder import ROLES, SCHEMA, RunFolder

# section of the record → the networks that depend on it
TRAINED_SECTIONS = {
    "seed": ROLES,
    "data": ROLES,
    "teacher": ("teacher",),
    "student": ("student", "baseline", "probe"),
}
WITHOUT_EFFECT = {"data.cache"}  # settings without an effect on results, which may change at any time


@dataclass(frozen=True)
class Job:
    """A run and all inputs of its stages.

    Attributes:
        run: folder of the run.
        recipe: settings of all stages.
        seed: seed of all random numbers.
        source: place of the photographs: a folder, a manifest, or the name of a data set.
        screen: receiver of messages and progress.
    """

    run: RunFolder
    recipe: Recipe
    seed: int
    source: str
    screen: Screen


def read_record(run: RunFolder) -> dict[str, Any] | None:
    """Read the content of run.json; None if the run has no run.json yet."""
    return run.read_record() if run.record.is_file() else None


def record_settings(job: Job) -> None:
    """Write the recipe of the job to run.json, if it differs, so that the record has the used settings."""
    record = job.run.read_record()
    if record["recipe"] != job.recipe.to_json():
        job.run.write_record({**record, "recipe": job.recipe.to_json()})


def record_data(
    job: Job, classes: Sequence[str], digest: str, unlabelled: Mapping[str, Any] | None = None
) -> None:
    """Write run.json, if it differs, after the photographs are prepared.

    Args:
        digest: digest of the prepared photographs.
        unlabelled: number of photographs without labels, and of those left out, by reason.
    """
    record = {
        "recipe": job.recipe.to_json(),
        "seed": job.seed,
        "source": job.source,
        "classes": list(classes),
        "data": digest,
        "versions": versions_of(),
        "unlabelled": unlabelled,
    }
    if read_record(job.run) != {"schema": SCHEMA, **record}:
        job.run.write_record(record)


def unlabelled_in_words(record: Mapping[str, Any]) -> str:
    """Say how many photographs without labels the student trained on, and how many were left out, why."""
    out = ", ".join(f"{count:,} {reason}" for reason, count in record["left_out"].items() if count)
    return f"{record['used']:,} for the student, labelled by the teacher" + (
        f"; left out: {out}" if out else ""
    )


def same_pixels(job: Job, record: Mapping[str, Any]) -> bool:
    """Return True if the run was prepared with the settings of the job that change prepared pixels."""
    before, now = parse_recipe(record["recipe"], str(job.run.record)).data, job.recipe.data
    of_training = {name: getattr(now, name) for name in OF_TRAINING}
    return before.model_copy(update=of_training) == now


def begun(run: RunFolder, roles: Iterable[str] = ROLES) -> bool:
    """Return True if the training of any of these networks has begun."""
    return any(run.role(role).is_dir() for role in roles)


def require_apart(job: Job) -> None:
    """Raise UsageError if the run is inside the folder of photographs: it would become a class."""
    source, run = Path(job.source), job.run.path.resolve()
    if source.is_dir() and run.is_relative_to(source):
        raise UsageError(
            f"The run would be inside the folder of photographs: {job.run.path} is inside {source}.",
            f"Choose a folder outside, such as {assigned({'out': source.parent / (source.name + '-run')})}",
        )


def require_same_training(job: Job, record: Mapping[str, Any]) -> None:
    """Raise UsageError if the job changes the settings that a network of the run was trained with."""
    recorded = parse_recipe(record["recipe"], str(job.run.record))  # new fields get their defaults
    old = flatten(recorded.to_json()) | {"seed": record["seed"]}
    new = flatten(job.recipe.to_json()) | {"seed": job.seed}
    changed = [
        f"  {key}: {old.get(key)!r} in the run, {new.get(key)!r} asked for"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key) and _is_frozen(job, key, old.get(key), new.get(key))
    ]
    if changed:
        raise UsageError(
            "\n".join([f"{job.run.path} was trained with other settings.", *changed]),
            f"Choose another folder with {assigned({'out': 'DIR'})}, or keep the settings of the run. "
            "More epochs are allowed, unless an unfinished training has a "
            "learning rate that falls until the last epoch.",
        )


def _is_frozen(job: Job, key: str, old: Any, new: Any) -> bool:
    if key in WITHOUT_EFFECT:
        return False
    if key == "data.unlabelled":
        return begun(job.run, ("student",))  # the only network that sees these photographs
    section, _, field = key.partition(".")
    if section == "teacher" and job.recipe.teacher.trained and field != "trained":
        return False  # the teacher comes from a file, so its training settings have no effect
    roles = TRAINED_SECTIONS.get(section, ())
    if field == "epochs" and isinstance(old, int) and isinstance(new, int) and new > old:
        schedule = getattr(job.recipe, section).schedule
        return schedule != "constant" and any(_unfinished(job.run, role) for role in roles)
    return begun(job.run, roles)


def _unfinished(run: RunFolder, role: str) -> bool:
    """Return True if the training of a network has begun and is not complete."""
    return any(run.role(role).glob("checkpoints/*")) and not (run.role(role) / "manifest.json").is_file()
