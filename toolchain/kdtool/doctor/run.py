"""Whether a run, or a comparison, is whole: its record, its manifests, its models, its measurements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from kdtool.core.errors import UsageError
from kdtool.core.files import PARTIAL, sha256_file
from kdtool.doctor.installation import Finding
from kdtool.doctor.recipe import examine_models, examine_recipe, teacher_finding
from kdtool.recipe.advice import worse_teacher
from kdtool.recipe.files import parse_recipe
from kdtool.recipe.settings import Recipe
from kdtool.results.bench import read_bench
from kdtool.runs.comparison import read_students
from kdtool.runs.folder import RunFolder
from kdtool.runs.lineage import outdated
from kdtool.runs.stage import read_manifest

# first word of a manifest's name → the command that writes it; the others belong to training
AGAIN = {"export": "export --onnx", "quantize": "quantize", "bench": "bench", "report": "report"}


def examine_run(run: RunFolder) -> Iterator[Finding]:
    """Files against their manifests, model files, and settings that are known to go wrong."""
    classes: list[str] | None = None
    try:
        recipe, classes = _record(run)
    except UsageError as error:
        device = run.onnx.is_dir() and not run.record.exists()  # models alone, copied there
        fix = error.hint or "Run the training command again."
        yield Finding("warning" if device else "broken", str(run.path), error.message, fix)
    else:
        yield Finding("ok", "run", str(run.path))
        examine = _examine_students if run.is_comparison else examine_recipe
        yield from examine(run, recipe, classes)
    for path in sorted(run.path.rglob("*manifest.json")):  # those of a comparison lie deep
        yield from _manifest(run, path)
    for old in outdated(run):
        yield Finding("warning", "outdated", old, "Run the command named, then what follows it.")
    yield from examine_models(run, classes)
    leftovers = sorted(run.path.rglob(f"*{PARTIAL}"))
    if leftovers:
        yield Finding(
            "note", str(run.path), f"{len(leftovers)} unfinished file(s) of an interrupted process.",
            "They are harmless; the next command that works on this run removes them.",
        )  # fmt: skip
    yield from _measured(run)


def _record(run: RunFolder) -> tuple[Recipe, list[str]]:
    """Recipe and classes of run.json."""
    record = run.read_record()
    return parse_recipe(record["recipe"], str(run.record)), record["classes"]


def _examine_students(run: RunFolder, first: Recipe, classes: Sequence[str]) -> Iterator[Finding]:
    """What is said of the recipes of a comparison, each finding once, with the names of its recipes.

    Args:
        first: whose teacher they all have.
    """
    names: dict[Finding, list[str]] = {}
    try:
        for name, student in read_students(run).items():
            own = parse_recipe({"name": name, "student": student}, f"{run.students_record}: {name}")
            recipe = first.model_copy(update={"student": own.student})
            for finding in examine_recipe(run, recipe, classes):
                names.setdefault(finding, []).append(name)
    except UsageError as error:
        yield Finding("broken", str(run.students_record), error.message, error.hint)
    fix = "In another folder: kdtool compare DATA --recipes … --out DIR --set …"
    for finding, of in names.items():
        yield replace(finding, about=f"{finding.about} ({', '.join(of)})", fix=fix)


def _manifest(run: RunFolder, path: Path) -> Iterator[Finding]:
    command = AGAIN.get(path.name.partition(".")[0])
    again = f"Make it again: kdtool {command} {run.path}" if command else "Run the training command again."
    manifest = read_manifest(path)
    if manifest is None:
        yield Finding("broken", str(path), "The manifest cannot be read.", again)
        return
    damaged = [name for name, digest in manifest.files.items() if _digest(path.parent / name) != digest]
    if damaged:
        yield Finding("broken", str(path), f"Missing or changed since: {', '.join(damaged)}.", again)
    else:
        yield Finding("ok", manifest.stage, f"{len(manifest.files)} file(s) intact")


def _measured(run: RunFolder) -> Iterator[Finding]:
    if not run.bench.is_file():
        return
    try:
        result = read_bench(run.bench)
    except UsageError as error:
        yield Finding("broken", str(run.bench), error.message, error.hint)
        return
    teacher, student = result.model("teacher"), result.model("student")
    if teacher and student and teacher.accuracy is not None and student.accuracy is not None:
        advice = worse_teacher(teacher.accuracy, student.accuracy, "test")
        if advice:
            yield teacher_finding(run, advice)
    for note in result.notes:
        yield Finding("note", "bench", note)


def _digest(path: Path) -> str | None:
    try:
        return sha256_file(path)
    except OSError:
        return None
