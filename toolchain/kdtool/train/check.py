"""What can be known to be wrong before any photograph is decoded."""

from __future__ import annotations

from pathlib import Path

from kdtool.arch.network import build, load_network
from kdtool.core.errors import UsageError
from kdtool.losses import FEATURE_LOSSES, feature_loss, logit_loss
from kdtool.machine.launch import process_count
from kdtool.recipe.settings import (
    AugmentSettings,
    FeatureSettings,
    NetworkSettings,
    Recipe,
    StudentSettings,
    TeacherSettings,
)
from kdtool.runs.folder import RunFolder
from kdtool.train.teaching.features import compare_features

ANY_NUMBER = 2  # of classes; the real one is known after the scan


def check_teacher(run: RunFolder, recipe: Recipe) -> Recipe:
    """Build the teacher once, its weights included; returns the recipe with the truth on a brought one.

    Raises:
        UsageError, ModelFileError, SetupError: no such network, its weights cannot be had, or options
            contradict each other.
    """
    settings: TeacherSettings = recipe.teacher
    if not settings.trained:
        _check_options("teacher", settings)
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
        UsageError, ModelFileError, SetupError: no such network or loss, a parameter it cannot take,
            options that contradict each other, or nothing to learn from the teacher.
    """
    loss, features = recipe.student.loss, recipe.student.features
    _check_options("student", recipe.student)
    _check_terms(recipe)
    logit_loss(loss.name, loss.params)
    if features.name:
        feature_loss(features.name, features.params)  # its name, before networks are built
        size = recipe.data.size
        student, teacher = (build(own.arch, ANY_NUMBER, size) for own in (recipe.student, recipe.teacher))
        stages = features.student_stages, features.teacher_stages
        compare_features(features.name, features.params, student, teacher, size, *stages)
    _check_network(run, "student", recipe.student, recipe.data.size)


def _check_options(section: str, settings: NetworkSettings) -> None:
    _check_warmup(section, settings.warmup_epochs, settings.epochs, section)
    if settings.compile:
        _check_compile(section, settings)
    augment = settings.augment
    usual = AugmentSettings().magnitude
    if augment.magnitude != usual and not augment.randaugment:
        raise UsageError(
            f"{section}.augment.magnitude is {augment.magnitude} without RandAugment, whose strength it is; "
            f"allowed: {usual}, its default.",
            f"--set {section}.augment.randaugment=2, or --set {section}.augment.magnitude={usual}",
        )


def _check_compile(section: str, settings: NetworkSettings) -> None:
    """torch.compile hides from us what several processes, and losses on features, have to see."""
    if process_count() > 1:
        raise UsageError(
            f"{section}.compile is true in {process_count()} processes; allowed is one, since batch "
            "normalization over all of them needs the network as it is.",
            f"--set {section}.compile=false, or start it without torchrun or accelerate launch.",
        )
    if isinstance(settings, StudentSettings) and settings.features.name:
        raise UsageError(
            f"student.compile is true with student.features.name {settings.features.name!r}; allowed: one of "
            "them, since features are read inside the network.",
            "--set student.compile=false",
        )


def _check_terms(recipe: Recipe) -> None:
    """What the student learns from: each setting counts, and the teacher has a part."""
    student, loss, features = recipe.student, recipe.student.loss, recipe.student.features
    for section, term in (("student.loss", loss), ("student.features", features)):
        _check_warmup(section, term.warmup_epochs, student.epochs, "student")
    if student.views and not student.augment.active:
        raise UsageError(
            f"student.views is {student.views} without augmentation, so all views are alike; allowed: 0.",
            "--set student.views=0, or augment: --set student.augment.flip=true",
        )
    if features.name and not features.weight:
        raise UsageError(
            f"student.features.weight is 0, so {features.name} would count for nothing; allowed: above 0.",
            "Example: --set student.features.weight=1; recipes without features: kdtool recipes",
        )
    if not features.name:
        _check_unused(features)
    if not loss.weight and not features.name:
        raise UsageError(
            "student.loss.weight is 0 and student.features has no name: nothing is learnt from the teacher; "
            "allowed: a weight above 0, or a loss on features.",
            "Example: --set student.loss.weight=0.5; the student without a teacher is trained by --baseline.",
        )


def _check_unused(features: FeatureSettings) -> None:
    """Without a name no setting of the section has an effect, and one that was given was meant to."""
    unused = FeatureSettings().model_dump()
    for key, value in features.model_dump().items():
        if key not in unused or value != unused[key]:
            raise UsageError(
                f"student.features.{key} is {value!r}, but student.features.name is empty; allowed: with a "
                f"name, one of {', '.join(FEATURE_LOSSES)}.",
                "Example: --set student.features.name=fitnet; recipes without features: kdtool recipes",
            )


def _check_warmup(section: str, warmup_epochs: int, epochs: int, trained: str) -> None:
    if warmup_epochs and warmup_epochs >= epochs:
        raise UsageError(
            f"{section}.warmup_epochs is {warmup_epochs}, {trained}.epochs is {epochs}: the warm-up would "
            f"take them all; allowed: 0 to {epochs - 1}.",
            f"--set {section}.warmup_epochs={epochs // 10}, or train longer: "
            f"--set {trained}.epochs={2 * warmup_epochs}",
        )


def _check_network(run: RunFolder, role: str, settings: NetworkSettings, size: int) -> None:
    if role not in run.trained_roles():
        build(settings.arch, ANY_NUMBER, size, settings.weights)
