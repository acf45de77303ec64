"""The student, taught by soft labels; and its baseline, the same without a teacher."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from kdtool.arch.network import two_heads
from kdtool.core.modelinfo import ModelInfo
from kdtool.core.screen import Screen
from kdtool.data.reader import Prepared
from kdtool.losses import logit_loss
from kdtool.recipe.advice import advise, advise_accuracies, resolve
from kdtool.recipe.settings import VIEWS, LossSettings, StudentSettings
from kdtool.runs.folder import RunFolder
from kdtool.runs.stage import Manifest, read_manifest
from kdtool.train.loop.objective import Answers, Distillation, Objective, Sum
from kdtool.train.stage import Objectives, Training, cross_entropy, train, training_task
from kdtool.train.teaching.answering import answers_of
from kdtool.train.teaching.features import FeatureDistillation, OnlineTeacher
from kdtool.train.teaching.softlabels import SPLITS
from kdtool.train.teaching.teacher import Teacher, open_teacher
from kdtool.train.together.processes import processes


def train_baseline(
    folder: Path,
    prepared: Prepared,
    settings: StudentSettings,
    seed: int,
    screen: Screen,
    views_seed: int | None = None,
) -> Manifest:
    """The student's network, initial weights, order and budget, with cross-entropy alone.

    Without a teacher who answers each view once, no view needs to return: each epoch has its own.
    """
    views_seed = seed if views_seed is None else views_seed
    own = alone(settings)
    training = Training("baseline", folder, own, seed, views_seed, cross_entropy(own), views=0)
    return train(prepared, training, screen)


def alone(settings: StudentSettings) -> StudentSettings:
    """The settings without what concerns the teacher's answers and not the student."""
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
    """Train the student with the answers of the run's teacher, as `LossSettings` and `FeatureSettings` say.

    Args:
        folder: where the student is kept, if not at the run's place.
        soft_labels: where answers are stored that other students want as well; they are then stored, also
            where asking in each step would cost this one less.
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
    objectives = _with_features(teacher, settings, loss, prepared.preprocess.size)  # nothing is asked yet
    training = Training(
        "student", folder or run.role("student"), settings, seed, views_seed, objectives, parents
    )
    trained = processes().once(training.stage(prepared).complete) is not None
    if not (settings.features.name or trained):  # of a student that stands no answers are asked
        task, shared = training_task(prepared, settings, views_seed), soft_labels is not None
        place = soft_labels or run.soft_labels
        answers = answers_of(teacher, prepared, task, settings, place, screen, shared)
        training = replace(training, objectives=on_logits(settings, loss, answers))
    manifest = train(prepared, training, screen)
    _warn_of_accuracies(run, manifest, len(prepared.classes), screen)
    return manifest


def on_logits(settings: StudentSettings, loss: LossSettings, answers: Mapping[str, Answers]) -> Objectives:
    """Objectives that want the teacher's logits alone."""
    bound = logit_loss(loss.name, loss.params)

    def objectives(network: nn.Module) -> Mapping[str, Objective]:
        two_heads(network)
        return {
            split: Distillation(loss, settings.label_smoothing, bound, answers[split]) for split in SPLITS
        }

    return objectives


def _with_features(teacher: Teacher, settings: StudentSettings, loss: LossSettings, size: int) -> Objectives:
    """Objectives that ask the teacher in every step; features count in training alone."""
    bound = logit_loss(loss.name, loss.params)
    hints: FeatureDistillation | None = None

    def objectives(student: nn.Module) -> Mapping[str, Objective]:
        nonlocal hints
        if hints is not None:
            hints.close()  # begun anew with a smaller batch
        two_heads(student)
        online = OnlineTeacher(teacher.network, teacher.info.preprocess)
        logits = Distillation(loss, settings.label_smoothing, bound, online)
        hints = FeatureDistillation(settings.features, student, online, size)
        return {"train": Sum(logits, hints), "validation": logits}

    return objectives


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
