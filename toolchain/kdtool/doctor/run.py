"""Checks of the files of a run or a comparison: its record, manifests, models and measurements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from kdtool.core.errors import UsageError
from kdtool.core.files import PARTIAL, sha256_file
from kdtool.doctor.installation import Diagnosis
from kdtool.doctor.recipe import check_models, check_recipe, teacher_warning
from kdtool.recipe.advice import worse_teacher
from kdtool.recipe.files import parse_recipe
from kdtool.recipe.settings import Recipe
from kdtool.results.bench import read_bench
from kdtool.runs.comparison import read_students
from kdtool.runs.folder import RunFolder
from kdtool.runs.lineage import outdated
from kdtool.runs.soundness import GATED, NO_USE, fault_in, faults_in
from kdtool.runs.stage import read_manifest

# First word of a manifest's name → the command that writes it. Training writes all other manifests.
COMMANDS = {"export": "export --onnx", "quantize": "quantize", "bench": "bench", "report": "report"}


def check_run(run: RunFolder) -> Iterator[Diagnosis]:
    """Check the files against their manifests, the model files, and the settings."""
    classes: list[str] | None = None
    try:
        recipe, classes = _record(run)
    except UsageError as error:
        device = run.onnx.is_dir() and not run.record.exists()  # only the models were copied there
        fix = error.hint or "Run the training command again."
        yield Diagnosis("warning" if device else "broken", str(run.path), error.message, fix)
    else:
        yield Diagnosis("ok", "run", str(run.path))
        check = _check_students if run.is_comparison else check_recipe
        yield from check(run, recipe, classes)
    for path in sorted(run.path.rglob("*manifest.json")):  # a comparison has manifests in subfolders
        yield from _check_manifest(run, path)
    for role in GATED:
        found = fault_in(run.weights(role), role)
        if found is not None:
            yield Diagnosis("broken", role, *found)
    for part in outdated(run):
        yield Diagnosis("warning", "outdated", part, "Run this command, then the commands of later stages.")
    yield from check_models(run, classes)
    leftovers = sorted(run.path.rglob(f"*{PARTIAL}"))
    if leftovers:
        yield Diagnosis(
            "note", str(run.path), f"{len(leftovers)} unfinished file(s) of an interrupted process.",
            "They are harmless; the next command that works on this run removes them.",
        )  # fmt: skip
    yield from _check_bench(run)


def _record(run: RunFolder) -> tuple[Recipe, list[str]]:
    """Recipe and classes in run.json."""
    record = run.read_record()
    return parse_recipe(record["recipe"], str(run.record)), record["classes"]


def _check_students(run: RunFolder, first: Recipe, classes: Sequence[str]) -> Iterator[Diagnosis]:
    """Check the recipes of a comparison; each diagnosis is given once, with the names of its recipes.

    Args:
        first: recipe in run.json, whose teacher all students have.
    """
    names: dict[Diagnosis, list[str]] = {}
    try:
        for name, student in read_students(run).items():
            entry = parse_recipe({"name": name, "student": student}, f"{run.students_record}: {name}")
            recipe = first.model_copy(update={"student": entry.student})
            for diagnosis in check_recipe(run, recipe, classes):
                names.setdefault(diagnosis, []).append(name)
    except UsageError as error:
        yield Diagnosis("broken", str(run.students_record), error.message, error.hint)
    fix = "Train in another folder: kdtool compare DATA --recipes … --out DIR --set …"
    for diagnosis, recipes in names.items():
        yield replace(diagnosis, about=f"{diagnosis.about} ({', '.join(recipes)})", fix=fix)


def _check_manifest(run: RunFolder, path: Path) -> Iterator[Diagnosis]:
    command = COMMANDS.get(path.name.partition(".")[0])
    again = f"Make it again: kdtool {command} {run.path}" if command else "Run the training command again."
    manifest = read_manifest(path)
    if manifest is None:
        yield Diagnosis("broken", str(path), "The manifest cannot be read.", again)
        return
    damaged = [name for name, digest in manifest.files.items() if _digest(path.parent / name) != digest]
    if damaged:
        yield Diagnosis("broken", str(path), f"Missing or changed files: {', '.join(damaged)}.", again)
    else:
        yield Diagnosis("ok", manifest.stage, f"{len(manifest.files)} file(s) intact")


def _check_bench(run: RunFolder) -> Iterator[Diagnosis]:
    if not run.bench.is_file():
        return
    try:
        result = read_bench(run.bench)
    except UsageError as error:
        yield Diagnosis("broken", str(run.bench), error.message, error.hint)
        return
    teacher, student = result.model("teacher"), result.model("student")
    if teacher and student and teacher.accuracy is not None and student.accuracy is not None:
        advice = worse_teacher(teacher.accuracy, student.accuracy, "test")
        if advice:
            yield teacher_warning(run, advice)
    for fault in faults_in(result):
        yield Diagnosis("broken", "bench", f"A model is of no use on the test images. {fault}.", NO_USE)
    for note in result.notes:
        yield Diagnosis("note", "bench", note)


def _digest(path: Path) -> str | None:
    try:
        return sha256_file(path)
    except OSError:
        return None
