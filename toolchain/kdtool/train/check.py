"""What can be known to be wrong before any photograph is decoded."""

from __future__ import annotations

from pathlib import Path

from kdtool.arch.network import build, load_network
from kdtool.core.recipe import NetworkSettings, Recipe, TeacherSettings
from kdtool.core.run import RunFolder
from kdtool.losses import feature_loss, logit_loss
from kdtool.train.features import compare_features

ANY_NUMBER = 2  # of classes; the real one is known after the scan


def check_teacher(run: RunFolder, recipe: Recipe) -> Recipe:
    """Build the teacher once, its weights included; returns the recipe with the truth on a brought one.

    Raises:
        UsageError, ModelFileError, SetupError: no such network, or its weights cannot be had.
    """
    settings: TeacherSettings = recipe.teacher
    if not settings.trained:
        _check_network(run, "teacher", settings, recipe.data.size)
        return recipe
    file = Path(settings.trained)
    if not file.is_file() and "teacher" in run.trained_roles():
        file = run.weights("teacher")  # it was brought before, and its file may have moved since
    _, info = load_network(file)
    teacher = settings.model_copy(update={"arch": info.arch, "label_smoothing": info.label_smoothing})
    return recipe.model_copy(update={"teacher": teacher})


def check_student(run: RunFolder, recipe: Recipe) -> None:
    """Build the student once and call its losses; where features count, find the stages of both networks.

    Raises:
        UsageError, ModelFileError, SetupError: no such network or loss, or a parameter it cannot take.
    """
    loss, features = recipe.student.loss, recipe.student.features
    logit_loss(loss.name, loss.params)
    if features.name:
        feature_loss(features.name, features.params)  # its name, before networks are built
        size = recipe.data.size
        student, teacher = (build(own.arch, ANY_NUMBER, size) for own in (recipe.student, recipe.teacher))
        compare_features(features, student, teacher, size)
    _check_network(run, "student", recipe.student, recipe.data.size)


def _check_network(run: RunFolder, role: str, settings: NetworkSettings, size: int) -> None:
    if role not in run.trained_roles():
        build(settings.arch, ANY_NUMBER, size, settings.weights)
