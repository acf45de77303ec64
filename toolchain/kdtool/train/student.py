"""The student, taught by soft labels; and its baseline, the same without a teacher."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from kdtool.arch.network import load_network, two_heads
from kdtool.core.advice import advise, advise_accuracies
from kdtool.core.files import sha256_file
from kdtool.core.manifest import Manifest, read_manifest
from kdtool.core.modelinfo import ModelInfo
from kdtool.core.recipe import LossSettings, StudentSettings
from kdtool.core.run import RunFolder
from kdtool.core.screen import Screen
from kdtool.data.reader import Prepared
from kdtool.losses import logit_loss
from kdtool.losses.defaults import resolve
from kdtool.train.features import FeatureDistillation, OnlineTeacher
from kdtool.train.objective import Answers, Distillation, Objective, Sum
from kdtool.train.softlabels import SPLITS, label
from kdtool.train.stage import Objectives, Training, cross_entropy, require_fit, train, training_task


def train_baseline(
    folder: Path,
    prepared: Prepared,
    settings: StudentSettings,
    seed: int,
    screen: Screen,
    views_seed: int | None = None,
) -> Manifest:
    """The student's network, initial weights, order, views and budget, with cross-entropy alone."""
    views_seed = seed if views_seed is None else views_seed
    training = Training("baseline", folder, settings, seed, views_seed, cross_entropy(settings))
    return train(prepared, training, screen)


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

    Soft labels are stored and read again; a loss on features needs the teacher in every step, and takes
    its logits from there.

    Args:
        folder, soft_labels: where the student and the answers are kept, if not at the run's places.
        views_seed: of the views that augmentation makes, if not `seed`.

    Raises:
        ModelFileError: the teacher is damaged, or not one for this data.
        UsageError: stages that the networks do not have, or that the loss cannot compare.
    """
    file = run.weights("teacher")
    teacher, info = load_network(file)
    require_fit(info, prepared, file)
    loss = _resolved(settings.loss, prepared, info, screen)
    views_seed = seed if views_seed is None else views_seed
    parents: dict[str, Any] = {"loss": loss.model_dump(mode="json", exclude_defaults=True)}
    if settings.features.name:
        parents |= {"teacher": sha256_file(file), "features": settings.features.model_dump(mode="json")}
        objectives = _online(teacher, info, settings, loss, prepared.preprocess.size)
    else:
        task = training_task(prepared, settings, views_seed)
        answers = label(teacher, info, file, prepared, task, soft_labels or run.soft_labels, screen)
        parents["soft_labels"] = answers.digest
        objectives = _stored(settings, loss, {split: answers.answers(split) for split in SPLITS})
    place = folder or run.role("student")
    return train(
        prepared, Training("student", place, settings, seed, views_seed, objectives, parents), screen
    )


def _stored(settings: StudentSettings, loss: LossSettings, answers: Mapping[str, Answers]) -> Objectives:
    """Objectives that look the teacher's answers up."""
    bound = logit_loss(loss.name, loss.params)

    def objectives(network: nn.Module) -> Mapping[str, Objective]:
        two_heads(network)
        return {
            split: Distillation(loss, settings.label_smoothing, bound, answers[split]) for split in SPLITS
        }

    return objectives


def _online(
    network: nn.Module, info: ModelInfo, settings: StudentSettings, loss: LossSettings, size: int
) -> Objectives:
    """Objectives that ask the teacher in every step; features count in training alone."""
    bound = logit_loss(loss.name, loss.params)

    def objectives(student: nn.Module) -> Mapping[str, Objective]:
        two_heads(student)
        teacher = OnlineTeacher(network, info.preprocess)
        logits = Distillation(loss, settings.label_smoothing, bound, teacher)
        hints = FeatureDistillation(settings.features, student, teacher, size)
        return {"train": Sum(logits, hints), "validation": logits}

    return objectives


def _compare_accuracies(run: RunFolder, student: Manifest, classes: int, screen: Screen) -> None:
    """Warn of a teacher that is no better than its student; of one that was brought nothing is known."""
    teacher = read_manifest(run.role("teacher") / "manifest.json")
    accuracy = teacher.result.get("validation_accuracy") if teacher else None
    if accuracy is not None:
        for advice in advise_accuracies(accuracy, student.result["validation_accuracy"], classes):
            screen.warn(advice)


def _resolved(settings: LossSettings, prepared: Prepared, info: ModelInfo, screen: Screen) -> LossSettings:
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
