"""`kdtool compare --dry-run`: how many trainings, and how long they would take here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from kdtool.compare.entries import Entry
from kdtool.compare.trainings import baselines_folder, students_folder
from kdtool.plan import Step, make_plan, print_steps
from kdtool.recipe.settings import StudentSettings
from kdtool.runs.record import Job
from kdtool.runs.stage import read_manifest
from kdtool.train.stage import own_settings


def print_comparison_plan(job: Job, entries: Sequence[Entry], seeds: Sequence[int]) -> None:
    """Print the plan on standard output; nothing is written. Times are estimates, as in `kdtool.plan`."""
    trainings = len(seeds) * (len(entries) + len({entry.baseline for entry in entries}))
    print_steps(f"Plan for {job.run.path}: {trainings} trainings", make_steps(job, entries, seeds))


def make_steps(job: Job, entries: Sequence[Entry], seeds: Sequence[int]) -> list[Step]:
    """The photographs, the teacher, and for each recipe its soft labels, its students, its baselines."""
    steps: dict[str, Step] = {}
    most: dict[str, int] = {}  # views that any of the recipes wants of the soft labels that they share
    for entry in entries:
        if not entry.student.features.name:
            most[entry.soft_labels] = max(entry.views, most.get(entry.soft_labels, 0))
    for entry in entries:
        single = make_plan(replace(job, recipe=entry.recipe), ("teach", "distill"), True, shared=True)
        one = {step.name: step for step in single}
        steps |= {name: one[name] for name in ("prepare", "teacher") if name not in steps}
        if "label" in one and entry.views == most[entry.soft_labels]:
            name = f"label {entry.soft_labels}"
            steps[name] = replace(one["label"], name=name, done=_stored(job, entry))
        students = students_folder(job.run.path, entry.name)
        steps[entry.name] = _each(one["student"], entry.name, students, entry.student, seeds)
        name, baselines = f"baseline {entry.baseline}", baselines_folder(job.run.path, entry.baseline)
        steps[name] = _each(one["baseline"], name, baselines, entry.alone, seeds)
    return list(steps.values())


def _stored(job: Job, entry: Entry) -> bool:
    """Whether soft labels of as many views, or more, are stored."""
    manifest = read_manifest(job.run.soft_labels / entry.soft_labels / "manifest.json")
    return manifest is not None and int(manifest.inputs.get("views", 1)) >= entry.views


def _each(one: Step, name: str, folder: Path, settings: StudentSettings, seeds: Sequence[int]) -> Step:
    """One training as many times as it is still to do; all of them where none is."""
    own = own_settings(settings)
    manifests = [read_manifest(folder / f"seed-{seed}" / "manifest.json") for seed in seeds]
    done = sum(manifest is not None and manifest.inputs.get("settings") == own for manifest in manifests)
    times = len(seeds) - done or len(seeds)
    return Step(name, f"{times} × {one.what}", times * one.seconds, times * one.size, done == len(seeds))
