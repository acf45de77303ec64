"""The student, taught by soft labels; and its baseline, the same without a teacher."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from kdtool.arch.network import two_heads
from kdtool.core.modelinfo import ModelInfo
from kdtool.core.screen import Screen
from kdtool.data.reader import Prepared
from kdtool.losses import logit_loss
from kdtool.recipe.advice import advise, advise_accuracies, resolve
from kdtool.recipe.settings import VIEWS, FeatureSettings, LossSettings, StudentSettings
from kdtool.runs.folder import RunFolder
from kdtool.runs.stage import Manifest, read_manifest
from kdtool.train.loop.criterion import Criterion, Distillation, Sum, TeacherLogits
from kdtool.train.stage import Criteria, Training, cross_entropy, train, training_examples
from kdtool.train.teaching.features import FeatureDistillation, OnlineTeacher, compare_features
from kdtool.train.teaching.softlabels import SPLITS
from kdtool.train.teaching.source import teacher_logits_of
from kdtool.train.teaching.teacher import Teacher, open_teacher


def train_baseline(
    folder: Path,
    prepared: Prepared,
    settings: StudentSettings,
    seed: int,
    screen: Screen,
    views_seed: int | None = None,
) -> Manifest:
    """The student's network, initial weights, order and budget, with cross-entropy alone.

    Without soft labels, which are stored of each view, no view needs to return: each epoch has its own.
    """
    views_seed = seed if views_seed is None else views_seed
    own = alone(settings)
    training = Training("baseline", folder, own, seed, views_seed, views=0)
    return train(prepared, training, cross_entropy(own), screen)


def alone(settings: StudentSettings) -> StudentSettings:
    """The settings without what concerns the soft labels and not the student."""
    return settings.model_copy(update={"views": 0, "answers": "float32"})


def distill(
    run: RunFolder,
    prepared: Prepared,
    settings: StudentSettings,
    seed: int,
    screen: Screen,
    folder: Path | None = None,
    soft_labels: Path | None = None,
    views_seed: int | None = None,
) -> Manifest:
    """Train the student with the logits of the run's teacher, as `LossSettings` and `FeatureSettings` say.

    Args:
        folder: where the student is kept, if not at the run's place.
        soft_labels: where they are stored for other students as well; they are then stored, also where
            asking the teacher in each step would cost this one less.
        views_seed: of the views that augmentation makes, if not `seed`.

    Raises:
        ModelFileError: the teacher is damaged, or not one for this data.
        UsageError: stages that the networks do not have, or that the loss cannot compare.
    """
    teacher = open_teacher(run, prepared)
    loss = resolved_loss(settings.loss, prepared, teacher.info, screen)
    views_seed = seed if views_seed is None else views_seed
    parents: dict[str, Any] = {
        "loss": loss.model_dump(mode="json", exclude_defaults=True),
        "teacher": teacher.digest,
    }
    if settings.features.name:
        parents["features"] = settings.features.model_dump(mode="json")
    elif settings.augment.active:
        parents["views"] = settings.views or VIEWS  # said, so that a later version's default is another
    training = Training("student", folder or run.role("student"), settings, seed, views_seed, parents)
    manifest = training.finished(prepared, screen)
    if manifest is None:
        if settings.features.name:
            criteria = _with_features(teacher, settings, loss, prepared.preprocess.size)
        else:
            examples, shared = training_examples(prepared, settings, views_seed), soft_labels is not None
            place = soft_labels or run.soft_labels
            logits = teacher_logits_of(teacher, prepared, examples, settings, place, screen, shared)
            criteria = on_logits(settings, loss, logits)
        manifest = train(prepared, training, criteria, screen)
    _warn_of_accuracies(run, manifest, len(prepared.classes), screen)
    return manifest


def on_logits(settings: StudentSettings, loss: LossSettings, logits: Mapping[str, TeacherLogits]) -> Criteria:
    """Criteria that want the teacher's logits alone."""

    def criteria(network: nn.Module) -> Mapping[str, Criterion]:
        two_heads(network)
        return {split: _distillation(settings, loss, logits[split]) for split in SPLITS}

    return criteria


def _with_features(teacher: Teacher, settings: StudentSettings, loss: LossSettings, size: int) -> Criteria:
    """Criteria that ask the teacher in every step; features count in training alone."""
    hints: FeatureDistillation | None = None

    def criteria(student: nn.Module) -> Mapping[str, Criterion]:
        nonlocal hints
        if hints is not None:
            hints.close()  # begun again with a smaller batch
        two_heads(student)
        online = OnlineTeacher(teacher.network, teacher.info.preprocess)
        logits = _distillation(settings, loss, online)
        hints = feature_distillation(settings.features, student, online, size)
        return {"train": Sum(logits, hints), "validation": logits}

    return criteria


def _distillation(settings: StudentSettings, loss: LossSettings, teacher: TeacherLogits) -> Distillation:
    return Distillation(
        logit_loss(loss.name, loss.params),
        teacher,
        weight=loss.weight,
        ce_weight=loss.ce_weight,
        warmup_epochs=loss.warmup_epochs,
        label_smoothing=settings.label_smoothing,
    )


def feature_distillation(
    settings: FeatureSettings, student: nn.Module, teacher: OnlineTeacher, size: int
) -> FeatureDistillation:
    """The loss on features that `settings` describe, for images of `size` pixels.

    Raises:
        UsageError: stages that a network does not have, or that the loss cannot compare.
    """
    stages = settings.student_stages, settings.teacher_stages
    compared = compare_features(settings.name, settings.params, student, teacher.network, size, *stages)
    warmup = settings.warmup_epochs
    return FeatureDistillation(*compared, student, teacher, weight=settings.weight, warmup_epochs=warmup)


def _warn_of_accuracies(run: RunFolder, student: Manifest, classes: int, screen: Screen) -> None:
    """Warn of a teacher that guesses or is worse than its student."""
    teacher = read_manifest(run.role("teacher") / "manifest.json")
    accuracy = teacher.result.get("validation_accuracy") if teacher else None
    if accuracy is not None:
        for advice in advise_accuracies(accuracy, student.result["validation_accuracy"], classes):
            screen.warn(advice)


def resolved_loss(
    settings: LossSettings, prepared: Prepared, info: ModelInfo, screen: Screen
) -> LossSettings:
    """The settings with defaults that know the classes and the teacher; says what was chosen and why."""
    if not settings.weight:
        return settings
    classes = len(prepared.classes)
    resolved = resolve(settings.name, settings.params, classes, info.label_smoothing)
    for reason in resolved.reasons:
        screen.say(f"student: {reason}")
    for advice in advise(settings.name, resolved.params, classes, info.label_smoothing):
        screen.warn(advice)
    own = settings.model_dump(exclude=set(settings.params))
    return LossSettings(**own, **resolved.params)
