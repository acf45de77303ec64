"""Plan for `kdtool compare --dry-run`: the trainings and their estimated time on this machine."""

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
from kdtool.train.settings import settings_inputs

SHARED = ("download teacher", "download student", "prepare", "teacher")


def print_comparison_plan(job: Job, entries: Sequence[Entry], seeds: Sequence[int]) -> None:
    """Print the plan to standard output without writing files. Times are estimates, see `kdtool.plan`."""
    trainings = len(seeds) * (len(entries) + len({entry.baseline for entry in entries}))
    print_steps(f"Plan for {job.run.path}: {trainings} trainings", make_steps(job, entries, seeds))


def make_steps(job: Job, entries: Sequence[Entry], seeds: Sequence[int]) -> list[Step]:
    """List the steps: photographs, teacher, and for each recipe soft labels, students and baselines."""
    steps: dict[str, Step] = {}
    most: dict[str, int] = {}  # name of soft labels → largest number of views that a recipe needs
    for entry in entries:
        if not entry.student.features.name:
            most[entry.soft_labels] = max(entry.views, most.get(entry.soft_labels, 0))
    for entry in entries:
        single = make_plan(replace(job, recipe=entry.recipe), ("teach", "distill"), True, shared=True)
        of_recipe = {step.name: step for step in single}
        steps |= {name: step for name, step in of_recipe.items() if name.startswith("download")}
        if "student" not in of_recipe:
            continue  # the data set itself has to be downloaded first
        steps |= {name: of_recipe[name] for name in SHARED if name in of_recipe and name not in steps}
        if "label" in of_recipe and entry.views == most[entry.soft_labels]:
            name = f"label {entry.soft_labels}"
            steps[name] = replace(of_recipe["label"], name=name, done=_stored(job, entry))
        students = students_folder(job.run.path, entry.name)
        steps[entry.name] = _each_seed(of_recipe["student"], entry.name, students, entry.student, seeds)
        name, baselines = f"baseline {entry.baseline}", baselines_folder(job.run.path, entry.baseline)
        steps[name] = _each_seed(of_recipe["baseline"], name, baselines, entry.baseline_student, seeds)
    return list(steps.values())


def _stored(job: Job, entry: Entry) -> bool:
    """True if soft labels for at least the number of views of `entry` are stored."""
    manifest = read_manifest(job.run.soft_labels / entry.soft_labels / "manifest.json")
    return manifest is not None and int(manifest.inputs.get("views", 1)) >= entry.views


def _each_seed(
    single: Step, name: str, folder: Path, settings: StudentSettings, seeds: Sequence[int]
) -> Step:
    """Multiply the step of one training by the number of seeds left to train, or by all if none is left."""
    inputs = settings_inputs(settings)
    manifests = [read_manifest(folder / f"seed-{seed}" / "manifest.json") for seed in seeds]
    done = sum(manifest is not None and manifest.inputs.get("settings") == inputs for manifest in manifests)
    times = len(seeds) - done or len(seeds)
    time, size = times * single.seconds, times * single.size
    return Step(name, f"{times} × {single.what}", time, size, done == len(seeds))
