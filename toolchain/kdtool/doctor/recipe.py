"""Whether a run was set up in a way that is known to go wrong: its loss, its teacher, its classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from kdtool.core.errors import ModelFileError
from kdtool.core.modelinfo import ModelInfo
from kdtool.doctor.installation import Finding
from kdtool.recipe.advice import advise, advise_accuracies, advise_patience
from kdtool.recipe.settings import NetworkSettings, Recipe
from kdtool.runs.folder import ROLES, RunFolder
from kdtool.runs.stage import read_manifest
from kdtool.runtime.onnxbytes.declared import onnx_info, weights_info

SHOWN = 5  # names of classes


def examine_recipe(run: RunFolder, recipe: Recipe, classes: Sequence[str]) -> Iterator[Finding]:
    """The loss against the number of classes and the teacher; the teacher against its student."""
    smoothing = _smoothing(run, recipe)
    loss = recipe.student.loss
    another = f"In another folder: kdtool distill DATA --out DIR --teacher {run.weights('teacher')} --set …"
    said = advise(loss.name, loss.params, len(classes), smoothing) if loss.weight else []
    trained: dict[str, NetworkSettings] = {"student": recipe.student}
    if not recipe.teacher.trained:
        trained["teacher"] = recipe.teacher
    for section, own in trained.items():
        stops = advise_patience(section, own.schedule, own.patience, own.epochs)
        said += [stops] if stops else []
    for advice in said:
        yield Finding("warning", "recipe", advice, another)
    teacher = _validation_accuracy(run.role("teacher"))
    student = max(_students(run), default=None)
    if teacher is not None and classes:
        for advice in advise_accuracies(teacher, student, len(classes)):
            yield teacher_finding(run, advice)


def teacher_finding(run: RunFolder, advice: str) -> Finding:
    """A warning of a teacher that is not good enough."""
    fix = f"kdtool distill --out {run.path} --set teacher.epochs=…; other weights want another --out."
    return Finding("warning", "teacher", advice, fix)


def examine_models(run: RunFolder, classes: Sequence[str] | None) -> Iterator[Finding]:
    """Every model file can be read, and has the run's classes in the run's order.

    Args:
        classes: of run.json; None where there is none, as on a device.
    """
    for role in ROLES:
        if run.weights(role).is_file():
            baseline = " --baseline" if role == "baseline" else ""
            again = f"Remove {run.role(role)} and train it again: kdtool distill --out {run.path}{baseline}"
            try:
                yield from _classes(run.weights(role), weights_info(run.weights(role)), classes, again)
            except ModelFileError as error:
                yield Finding("broken", str(run.weights(role)), error.message, error.hint)
    for path in sorted(run.onnx.glob("*.onnx")):
        command = "quantize" if ".int8." in path.name else "export --onnx"
        try:
            yield from _classes(path, onnx_info(path), classes, f"Make it again: kdtool {command} {run.path}")
        except ModelFileError as error:
            yield Finding("broken", str(path), error.message, error.hint)


def _classes(
    path: Path, info: ModelInfo | None, classes: Sequence[str] | None, again: str
) -> Iterator[Finding]:
    if info is None or classes is None or list(info.classes) == list(classes):
        return
    if sorted(info.classes) == sorted(classes):
        at = next(index for index, name in enumerate(classes) if info.classes[index] != name)
        what = f"in another order: number {at} is {info.classes[at]!r}, in run.json {classes[at]!r}"
    else:
        differ = sorted(set(info.classes) ^ set(classes))
        more = f", … ({len(differ)} in all)" if len(differ) > SHOWN else ""
        what = f"others than in run.json: {', '.join(differ[:SHOWN])}{more} differ"
    yield Finding("broken", str(path), f"Its classes are {what}.", again)


def _smoothing(run: RunFolder, recipe: Recipe) -> float:
    """Of the teacher as it is, which may have been brought; of the recipe where it is not there."""
    try:
        info = weights_info(run.weights("teacher")) if run.weights("teacher").is_file() else None
    except ModelFileError:  # a finding of its own
        info = None
    return recipe.teacher.label_smoothing if info is None else info.label_smoothing


def _students(run: RunFolder) -> Iterator[float]:
    """Of the run's student, or of all that a comparison trained."""
    for folder in (run.role("student"), *run.path.glob("students/*/seed-*")):
        accuracy = _validation_accuracy(folder)
        if accuracy is not None:
            yield accuracy


def _validation_accuracy(folder: Path) -> float | None:
    """Of the network in `folder`; None where there is none."""
    manifest = read_manifest(folder / "manifest.json")
    value = manifest.result.get("validation_accuracy") if manifest else None
    return value if isinstance(value, float) else None
