"""Checks of the settings and models of a run: its loss, its teacher, its classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from kdtool.core.errors import ModelFileError
from kdtool.core.modelinfo import ModelInfo
from kdtool.doctor.installation import Diagnosis
from kdtool.recipe.advice import advise, advise_patience, worse_teacher
from kdtool.recipe.settings import NetworkSettings, Recipe
from kdtool.runs.folder import ROLES, RunFolder
from kdtool.runs.stage import read_manifest
from kdtool.runtime.onnxbytes.declared import onnx_info, weights_info

SHOWN = 5  # number of class names in a message


def check_recipe(run: RunFolder, recipe: Recipe, classes: Sequence[str]) -> Iterator[Diagnosis]:
    """Check the loss against the number of classes and the teacher, and the teacher against its student."""
    smoothing = _smoothing(run, recipe)
    loss = recipe.student.loss
    fix = f"Train in another folder: kdtool distill DATA --out DIR --teacher {run.weights('teacher')} --set …"
    advices = advise(loss.name, loss.params, len(classes), smoothing) if loss.weight else []
    trained: dict[str, NetworkSettings] = {"student": recipe.student}
    if not recipe.teacher.trained:
        trained["teacher"] = recipe.teacher
    for section, settings in trained.items():
        patience = advise_patience(section, settings.schedule, settings.patience, settings.epochs)
        advices += [patience] if patience else []
    for advice in advices:
        yield Diagnosis("warning", "recipe", advice, fix)
    teacher = _validation_accuracy(run.role("teacher"))
    student = max(_students(run), default=None)
    if teacher is not None and student is not None:
        worse = worse_teacher(teacher, student, "validation")
        if worse:
            yield teacher_warning(run, worse)


def teacher_warning(run: RunFolder, advice: str) -> Diagnosis:
    """Warning about a teacher that is not good enough."""
    fix = f"kdtool distill --out {run.path} --set teacher.epochs=…; other weights need another --out."
    return Diagnosis("warning", "teacher", advice, fix)


def check_models(run: RunFolder, classes: Sequence[str] | None) -> Iterator[Diagnosis]:
    """Check that every model file can be read and has the classes of the run in the same order.

    Args:
        classes: classes in run.json; None if there is no run.json, such as on a device.
    """
    for role in ROLES:
        if run.weights(role).is_file():
            baseline = " --baseline" if role == "baseline" else ""
            again = f"Remove {run.role(role)} and train it again: kdtool distill --out {run.path}{baseline}"
            try:
                yield from _classes(run.weights(role), weights_info(run.weights(role)), classes, again)
            except ModelFileError as error:
                yield Diagnosis("broken", str(run.weights(role)), error.message, error.hint)
    for path in sorted(run.onnx.glob("*.onnx")):
        command = "quantize" if ".int8." in path.name else "export --onnx"
        try:
            yield from _classes(path, onnx_info(path), classes, f"Make it again: kdtool {command} {run.path}")
        except ModelFileError as error:
            yield Diagnosis("broken", str(path), error.message, error.hint)


def _classes(
    path: Path, info: ModelInfo | None, classes: Sequence[str] | None, again: str
) -> Iterator[Diagnosis]:
    if info is None or classes is None or list(info.classes) == list(classes):
        return
    if sorted(info.classes) == sorted(classes):
        at = next(index for index, name in enumerate(classes) if info.classes[index] != name)
        problem = f"in another order: number {at} is {info.classes[at]!r}, in run.json {classes[at]!r}"
    else:
        differ = sorted(set(info.classes) ^ set(classes))
        more = f", … ({len(differ)} in all)" if len(differ) > SHOWN else ""
        problem = f"not those of run.json: {', '.join(differ[:SHOWN])}{more} differ"
    yield Diagnosis("broken", str(path), f"Its classes are {problem}.", again)


def _smoothing(run: RunFolder, recipe: Recipe) -> float:
    """Label smoothing of the teacher by the metadata of its weights, or by the recipe if there are none."""
    try:
        info = weights_info(run.weights("teacher")) if run.weights("teacher").is_file() else None
    except ModelFileError:  # check_models reports it
        info = None
    return recipe.teacher.label_smoothing if info is None else info.label_smoothing


def _students(run: RunFolder) -> Iterator[float]:
    """Validation accuracies of the run's student, or of all students of a comparison."""
    for folder in (run.role("student"), *run.path.glob("students/*/seed-*")):
        accuracy = _validation_accuracy(folder)
        if accuracy is not None:
            yield accuracy


def _validation_accuracy(folder: Path) -> float | None:
    """Validation accuracy of the network in `folder`; None if it is not trained."""
    manifest = read_manifest(folder / "manifest.json")
    value = manifest.result.get("validation_accuracy") if manifest else None
    return value if isinstance(value, float) else None
