"""Checks of a recipe that need no photographs; they run before the scan."""

from __future__ import annotations

from pathlib import Path

from kdtool.arch.network import build, load_network, published_weights
from kdtool.core.errors import UsageError
from kdtool.core.spelling import assigned
from kdtool.losses import FEATURE_LOSSES, feature_loss, logit_loss
from kdtool.machine.launch import process_count
from kdtool.recipe.choices import IMAGENET, SCRATCH, Trained
from kdtool.recipe.settings import (
    AugmentSettings,
    NetworkSettings,
    Recipe,
    StudentSettings,
    TeacherSettings,
)
from kdtool.recipe.terms import FeatureSettings
from kdtool.runs.folder import RunFolder
from kdtool.train.teaching.features import compare_features

ANY_NUMBER = 2  # of classes; the real number is known after the scan


def check_teacher(run: RunFolder, recipe: Recipe, download: bool = True) -> Recipe:
    """Check the options of the teacher and build it once, with its weights.

    Args:
        download: False does not download weights; the network is then built without them.

    Returns:
        The recipe; if the teacher is a trained file, with the architecture and label smoothing of this file.

    Raises:
        UsageError: the network does not exist, or options contradict each other.
        ModelFileError: the file of weights is broken or does not fit.
        SetupError: pretrained weights cannot be downloaded.
    """
    settings: TeacherSettings = recipe.teacher
    if not settings.trained:
        _check_options("teacher", settings)
        _check_network(run, "teacher", settings, recipe.teacher_data.size, download)
        return recipe
    file = Path(settings.trained)
    if not file.is_file() and "teacher" in run.trained_roles():
        file = run.weights("teacher")  # the run has a copy from an earlier start, and the file may have moved
    _, info = load_network(file)
    own = info.preprocess.size
    size = 0 if own == recipe.data.size else own
    known = {"arch": info.arch, "label_smoothing": info.label_smoothing, "size": size}
    teacher = settings.model_copy(update=known)
    return recipe.model_copy(update={"teacher": teacher})


def check_student(run: RunFolder, recipe: Recipe, download: bool = True) -> None:
    """Check the options of the student, build it once and call its losses.

    With a feature loss, both networks are built and their stages are paired.

    Args:
        download: False does not download weights; the network is then built without them.

    Raises:
        UsageError: the network or the loss does not exist, the loss cannot take a parameter, options
            contradict each other, or the student learns nothing from the teacher.
        ModelFileError: the file of weights is broken or does not fit.
        SetupError: pretrained weights cannot be downloaded.
    """
    loss, features = recipe.student.loss, recipe.student.features
    _check_options("student", recipe.student)
    _check_terms(recipe)
    logit_loss(loss.name, loss.params)
    if features.name:
        feature_loss(features.name, features.params)  # checks the name before networks are built
        size = recipe.data.size
        if recipe.teacher_data.size != size and features.name == "vitkd":
            raise UsageError(
                f"student.features.name is 'vitkd' and teacher.size is {recipe.teacher_data.size}, data.size "
                f"{size}: this loss compares patch by patch; allowed: the same size.",
                assigned({"teacher.size": 0}),
            )
        student, teacher = (build(role.arch, ANY_NUMBER, size) for role in (recipe.student, recipe.teacher))
        stages = features.student_stages, features.teacher_stages
        compare_features(features.name, features.params, student, teacher, size, *stages)
    _check_network(run, "student", recipe.student, recipe.data.size, download)


def _check_options(section: str, settings: NetworkSettings) -> None:
    _check_warmup(section, settings.warmup_epochs, settings.epochs, section)
    _check_frozen(section, settings)
    if settings.compile:
        _check_compile(section, settings)
    augment = settings.augment
    default = AugmentSettings().magnitude
    if augment.magnitude != default and not augment.randaugment:
        raise UsageError(
            f"{section}.augment.magnitude is {augment.magnitude} without RandAugment; the magnitude is the "
            f"strength of RandAugment; allowed: {default}, the default.",
            f"{assigned({f'{section}.augment.randaugment': 2})}, or "
            f"{assigned({f'{section}.augment.magnitude': default})}",
        )


def _check_frozen(section: str, settings: NetworkSettings) -> None:
    """Refuse to keep parts of a network that starts from scratch: they would stay random."""
    frozen = {"train": settings.train is Trained.HEAD, "freeze_norm": settings.freezes_norm}
    for field, is_frozen in frozen.items():
        if is_frozen and settings.weights == SCRATCH:
            value = str(getattr(settings, field)).lower()
            mend = {f"{section}.weights": IMAGENET} if field == "train" else {f"{section}.{field}": "auto"}
            raise UsageError(
                f"{section}.{field} is {value}, but {section}.weights is none: the frozen part would stay "
                "random; allowed: weights that are trained.",
                assigned(mend),
            )


def _check_compile(section: str, settings: NetworkSettings) -> None:
    """Refuse torch.compile with several processes or a feature loss; both need the modules of the network."""
    if process_count() > 1:
        raise UsageError(
            f"{section}.compile is true in {process_count()} processes; allowed: one process, because batch "
            "normalization over several processes needs the network without torch.compile.",
            f"{assigned({f'{section}.compile': False})}, or start without torchrun or accelerate launch.",
        )
    if isinstance(settings, StudentSettings) and settings.features.name:
        raise UsageError(
            f"student.compile is true with student.features.name {settings.features.name!r}; allowed: one of "
            "both, because torch.compile hides the features inside the network.",
            assigned({"student.compile": False}),
        )


def _check_terms(recipe: Recipe) -> None:
    """Check that each setting of the losses has an effect, and that the student learns from the teacher."""
    student, loss, features = recipe.student, recipe.student.loss, recipe.student.features
    for section, term in (("student.loss", loss), ("student.features", features)):
        _check_warmup(section, term.warmup_epochs, student.epochs, "student")
    if student.views and not student.augment.active:
        raise UsageError(
            f"student.views is {student.views} without augmentation, so all views are equal; allowed: 0.",
            f"{assigned({'student.views': 0})}, or switch augmentation on: "
            f"{assigned({'student.augment.flip': True})}",
        )
    if features.name and not features.weight:
        raise UsageError(
            f"student.features.weight is 0, so {features.name} would have no effect; allowed: above 0.",
            f"Example: {assigned({'student.features.weight': 1})}; recipes without features: kdtool recipes",
        )
    if not features.name:
        _check_unused(features)
    if not loss.weight and not features.name:
        raise UsageError(
            "student.loss.weight is 0 and student.features.name is empty: the student learns nothing from "
            "the teacher; allowed: a weight above 0, or a feature loss.",
            f"Example: {assigned({'student.loss.weight': 0.5})}; to train the student without a teacher: "
            f"{assigned({'baseline': True})}",
        )


def _check_unused(features: FeatureSettings) -> None:
    """Refuse settings of [student.features] without a name, since they would have no effect."""
    unused = FeatureSettings().model_dump()
    for key, value in features.model_dump().items():
        if key not in unused or value != unused[key]:
            raise UsageError(
                f"student.features.{key} is {value!r}, but student.features.name is empty; allowed: a name, "
                f"one of {', '.join(FEATURE_LOSSES)}.",
                f"Example: {assigned({'student.features.name': 'fitnet'})}; "
                "recipes without features: kdtool recipes",
            )


def _check_warmup(section: str, warmup_epochs: int, epochs: int, trained: str) -> None:
    if warmup_epochs and warmup_epochs >= epochs:
        raise UsageError(
            f"{section}.warmup_epochs is {warmup_epochs}, {trained}.epochs is {epochs}: the warm-up would "
            f"take all epochs; allowed: 0 to {epochs - 1}.",
            f"{assigned({f'{section}.warmup_epochs': epochs // 10})}, or train longer: "
            f"{assigned({f'{trained}.epochs': 2 * warmup_epochs})}",
        )


def _check_network(run: RunFolder, role: str, settings: NetworkSettings, size: int, download: bool) -> None:
    if role in run.trained_roles():
        return
    published = published_weights(settings.arch, settings.weights)
    weights = SCRATCH if published and not published.present and not download else settings.weights
    build(settings.arch, ANY_NUMBER, size, weights, role)
