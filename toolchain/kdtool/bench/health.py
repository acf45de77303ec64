"""Whether a run is whole, and whether it was set up in a way that is known to go wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from kdtool.bench.doctor import Finding
from kdtool.core.advice import smoothed_teacher
from kdtool.core.benchresult import read_bench
from kdtool.core.errors import ModelFileError, UsageError
from kdtool.core.files import PARTIAL, sha256_file
from kdtool.core.lineage import outdated
from kdtool.core.manifest import read_manifest
from kdtool.core.recipe import parse_recipe
from kdtool.core.run import RunFolder
from kdtool.runtime.guard import read_model

# first word of a manifest's name → the command that writes it; the others belong to training
AGAIN = {"export": "export --onnx", "quantize": "quantize", "bench": "bench", "report": "report"}


def examine_run(run: RunFolder) -> Iterator[Finding]:
    """Files against their manifests, model files, and settings that are known to go wrong."""
    yield from _record(run)
    manifests = sorted({*run.path.glob("*manifest.json"), *run.path.glob("*/*manifest.json")})
    for path in manifests:
        yield from _manifest(run, path)
    for old in outdated(run):
        yield Finding("warning", "outdated", old, "Run the command named, then what follows it.")
    for path in sorted(run.onnx.glob("*.onnx")):
        try:
            read_model(path)
        except ModelFileError as error:
            yield Finding("broken", str(path), error.message, error.hint)
    leftovers = sorted(run.path.rglob(f"*{PARTIAL}"))
    if leftovers:
        yield Finding(
            "note", str(run.path), f"{len(leftovers)} unfinished file(s) of an interrupted process.",
            "They are harmless; the next command that works on this run removes them.",
        )  # fmt: skip
    yield from _measured(run)


def _record(run: RunFolder) -> Iterator[Finding]:
    try:
        recipe = parse_recipe(run.read_record()["recipe"], str(run.record))
    except UsageError as error:
        device = run.onnx.is_dir() and not run.record.exists()  # models alone, copied there
        yield Finding(
            "warning" if device else "broken",
            str(run.path),
            error.message,
            error.hint or "Run the training command again.",
        )
        return
    yield Finding("ok", "run", str(run.path))
    temperature = recipe.student.loss.params.get("temperature")
    if not isinstance(temperature, int | float):  # the loss's own default, which is chosen to go well
        return
    advice = smoothed_teacher(recipe.teacher.label_smoothing, temperature)
    if advice:
        yield Finding(
            "warning",
            "recipe",
            advice,
            "--set teacher.label_smoothing=0, or --set student.loss.temperature=1",
        )


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
    if teacher and student and (teacher.accuracy or 0) < (student.accuracy or 0):
        yield Finding(
            "warning", "teacher",
            f"The teacher is worse than its student ({100 * (teacher.accuracy or 0):.1f} against "
            f"{100 * (student.accuracy or 0):.1f} %): there is little to learn from it.",
            "Train it longer (--set teacher.epochs=…) or from ImageNet weights (--teacher-weights imagenet).",
        )  # fmt: skip
    for note in result.notes:
        yield Finding("note", "bench", note)


def _digest(path: Path) -> str | None:
    try:
        return sha256_file(path)
    except OSError:
        return None
