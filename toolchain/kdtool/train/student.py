"""Training of the student with a teacher, and of its baseline without a teacher."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from kdtool.arch.network import two_heads
from kdtool.core.modelinfo import ModelInfo
from kdtool.core.screen import Screen
from kdtool.core.spelling import assigned
from kdtool.data.reader import Prepared
from kdtool.losses import logit_loss
from kdtool.recipe.advice import advise, worse_teacher
from kdtool.recipe.defaults import resolve
from kdtool.recipe.settings import VIEWS, StudentSettings
from kdtool.recipe.terms import FeatureSettings, LossSettings
from kdtool.runs.folder import RunFolder
from kdtool.runs.soundness import fault_in, require_sound_network
from kdtool.runs.stage import Manifest, read_manifest
from kdtool.train.loop.criterion import Criterion, Distillation, Sum, TeacherLogits
from kdtool.train.probe import Probe
from kdtool.train.stage import WEIGHTS, Criteria, Training, cross_entropy, prior_of, train, training_examples
from kdtool.train.teaching.features import FeatureDistillation, OnlineTeacher, compare_features
from kdtool.train.teaching.softlabels import SPLITS
from kdtool.train.teaching.source import online_teacher, teacher_logits_of
from kdtool.train.teaching.teacher import Teacher, open_teacher
from kdtool.train.views.batch import plain_examples

Prior = npt.NDArray[np.float64] | None


def train_baseline(
    folder: Path,
    prepared: Prepared,
    settings: StudentSettings,
    seed: int,
    screen: Screen,
    views_seed: int | None = None,
    start: Probe | None = None,
) -> Manifest:
    """Train the baseline: network, initial weights, order and budget of the student, cross-entropy only.

    The baseline needs no soft labels, which are stored for a fixed number of views, so it sees a new view in
    each epoch.

    Args:
        start: probe of the student, from which the baseline starts too.
    """
    views_seed = seed if views_seed is None else views_seed
    settings = without_soft_labels(settings)
    training = Training("baseline", folder, settings, seed, views_seed, views=0, start=start)
    manifest = train(prepared, training, cross_entropy(settings, prepared), screen)
    found = fault_in(folder / WEIGHTS, "baseline")
    if found is not None:
        screen.warn(" ".join(found))
    return manifest


def without_soft_labels(settings: StudentSettings) -> StudentSettings:
    """Reset the settings that concern only the soft labels to their defaults."""
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
    start: Probe | None = None,
) -> Manifest:
    """Train the student with the teacher of the run, as `LossSettings` and `FeatureSettings` say.

    Args:
        folder: folder of the student; by default the folder of the run for students.
        soft_labels: folder of soft labels that other students share. They are then stored even if the teacher
            could compute them in each step in less time.
        views_seed: seed of the augmentation; by default `seed`.
        start: probe of the student, from which it starts.

    Raises:
        ModelFileError: the teacher is damaged or does not fit the data.
        GateError: the student is of no use; its weights and history are kept.
        UsageError: a network does not have the named stages, or the loss cannot compare them.
    """
    prepared = prepared.for_student
    teacher = open_teacher(run, prepared.for_teacher)
    loss = resolved_loss(settings.loss, prepared, teacher.info, screen)
    views_seed = seed if views_seed is None else views_seed
    parents: dict[str, Any] = {
        "loss": loss.model_dump(mode="json", exclude_defaults=True),
        "teacher": teacher.digest,
    }
    if settings.features.name:
        parents["features"] = settings.features.model_dump(mode="json")
    elif settings.augment.active:
        parents["views"] = settings.views or VIEWS  # recorded, so that a later default is a different input
    place = folder or run.role("student")
    training = Training("student", place, settings, seed, views_seed, parents, start=start)
    manifest = training.finished(prepared, screen)
    if manifest is None:
        if settings.features.name:
            criteria = _feature_criteria(teacher, prepared, settings, loss, views_seed)
        else:
            examples, shared = training_examples(prepared, settings, views_seed), soft_labels is not None
            stored = soft_labels or run.soft_labels
            logits = teacher_logits_of(teacher, prepared, examples, settings, stored, screen, shared)
            criteria = logit_criteria(settings, loss, logits, prior_of(prepared))
        manifest = train(prepared, training, criteria, screen)
    require_sound_network(place / WEIGHTS, "student")
    _warn_of_teacher(run, manifest, screen)
    _warn_of_probe(manifest, start, screen)
    return manifest


def logit_criteria(
    settings: StudentSettings, loss: LossSettings, logits: Mapping[str, TeacherLogits], prior: Prior = None
) -> Criteria:
    """Criteria that need only the teacher's logits.

    Args:
        logits: split → the teacher's logits for its batches.
        prior: frequencies of the classes, for logit adjustment in training.
    """
    priors = {"train": prior, "validation": None}

    def criteria(network: nn.Module) -> Mapping[str, Criterion]:
        two_heads(network)
        return {split: _distillation(settings, loss, logits[split], priors[split]) for split in SPLITS}

    return criteria


def _feature_criteria(
    teacher: Teacher, prepared: Prepared, settings: StudentSettings, loss: LossSettings, views_seed: int
) -> Criteria:
    """Criteria with a feature loss, for which the teacher runs in each step; validation uses logits only."""
    features: FeatureDistillation | None = None

    def criteria(student: nn.Module) -> Mapping[str, Criterion]:
        nonlocal features
        if features is not None:
            features.close()  # a second call starts the training again with a smaller batch
        two_heads(student)
        examples = training_examples(prepared, settings, views_seed)
        online = online_teacher(teacher, prepared, examples)
        checked = online_teacher(teacher, prepared, plain_examples(prepared, "validation"))
        features = feature_distillation(settings.features, student, online, prepared.preprocess.size)
        logits = {"train": online, "validation": checked}
        priors = {"train": prior_of(prepared), "validation": None}
        terms = {
            split: _distillation(settings, loss, teacher, priors[split]) for split, teacher in logits.items()
        }
        return {"train": Sum(terms["train"], features), "validation": terms["validation"]}

    return criteria


def _distillation(
    settings: StudentSettings, loss: LossSettings, teacher: TeacherLogits, prior: Prior
) -> Distillation:
    return Distillation(
        logit_loss(loss.name, loss.params),
        teacher,
        weight=loss.weight,
        ce_weight=loss.ce_weight,
        warmup_epochs=loss.warmup_epochs,
        label_smoothing=settings.label_smoothing,
        prior=prior,
    )


def feature_distillation(
    settings: FeatureSettings, student: nn.Module, teacher: OnlineTeacher, size: int
) -> FeatureDistillation:
    """Build the feature loss of `settings` for images of `size` × `size` pixels.

    Raises:
        UsageError: a network does not have the named stages, or the loss cannot compare them.
    """
    stages = settings.student_stages, settings.teacher_stages
    compared = compare_features(settings.name, settings.params, student, teacher.network, size, *stages)
    warmup = settings.warmup_epochs
    return FeatureDistillation(*compared, student, teacher, weight=settings.weight, warmup_epochs=warmup)


def _warn_of_teacher(run: RunFolder, student: Manifest, screen: Screen) -> None:
    """Warn if the teacher is worse than its student."""
    teacher = read_manifest(run.role("teacher") / "manifest.json")
    accuracy = teacher.result.get("validation_accuracy") if teacher else None
    if accuracy is not None:
        advice = worse_teacher(accuracy, student.result["validation_accuracy"], "validation")
        if advice:
            screen.warn(advice)


def _warn_of_probe(student: Manifest, start: Probe | None, screen: Screen) -> None:
    """Say that the student is not better than its own frozen features with a linear classifier."""
    accuracy = student.result["validation_accuracy"]
    if start is not None and accuracy <= start.accuracy:
        screen.warn(
            f"student: its validation accuracy of {accuracy:.2%} does not beat its linear probe, the same "
            f"network with frozen features ({start.accuracy:.2%}). The training did not help; the probe is "
            f"{start.file}. Try a lower learning rate, or {assigned({'student.freeze_norm': True})}"
        )


def resolved_loss(
    settings: LossSettings, prepared: Prepared, info: ModelInfo, screen: Screen
) -> LossSettings:
    """Fill in defaults that depend on classes and teacher; print the chosen values with their reasons."""
    if not settings.weight:
        return settings
    classes = len(prepared.classes)
    resolved = resolve(settings.name, settings.params, classes, info.label_smoothing)
    for reason in resolved.reasons:
        screen.say(f"student: {reason}")
    for advice in advise(settings.name, resolved.params, classes, info.label_smoothing):
        screen.warn(advice)
    common = settings.model_dump(exclude=set(settings.params))
    return LossSettings(**common, **resolved.params)
