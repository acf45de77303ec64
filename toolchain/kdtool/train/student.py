"""The student, taught by soft labels; and its baseline, the same without a teacher."""

from __future__ import annotations

import inspect

import torch
import torch.nn.functional as F
from torch import Tensor

from kdtool.arch.network import load_network
from kdtool.core.advice import smoothed_teacher
from kdtool.core.manifest import Manifest
from kdtool.core.recipe import LossSettings, StudentSettings
from kdtool.core.run import RunFolder
from kdtool.core.screen import Screen
from kdtool.data.reader import Prepared
from kdtool.losses import logit_loss
from kdtool.train.fit import Objective, objective_ce
from kdtool.train.order import Indices
from kdtool.train.softlabels import SoftLabels, label
from kdtool.train.stage import Training, require_fit, train


def train_baseline(
    run: RunFolder, prepared: Prepared, settings: StudentSettings, seed: int, screen: Screen
) -> Manifest:
    """The student's network, initial weights, order, optimizer and budget, with cross-entropy alone."""
    objective = objective_ce(settings.label_smoothing)
    objectives = {"train": objective, "validation": objective}
    return train(run, prepared, Training("baseline", settings, seed, objectives), screen)


def distill(
    run: RunFolder, prepared: Prepared, settings: StudentSettings, seed: int, screen: Screen
) -> Manifest:
    """Train the student with the answers of the run's teacher, as `LossSettings` says.

    Raises:
        ModelFileError: the teacher is damaged, or not one for this data.
    """
    teacher, info = load_network(run.weights("teacher"))
    require_fit(info, prepared, run.weights("teacher"))
    advice = smoothed_teacher(info.label_smoothing, _temperature(settings.loss))
    if advice:
        screen.warn(advice)
    soft_labels = label(teacher, info, run.weights("teacher"), prepared, run.soft_labels, screen)
    objectives = {split: _objective(settings, soft_labels, split) for split in ("train", "validation")}
    parents = {
        "soft_labels": soft_labels.digest,
        "loss": settings.loss.model_dump(mode="json", exclude_defaults=True),
    }
    return train(run, prepared, Training("student", settings, seed, objectives, parents), screen)


def _objective(settings: StudentSettings, soft_labels: SoftLabels, split: str) -> Objective:
    """The objective of `LossSettings`, the teacher's logits looked up by index."""
    recipe, smoothing = settings.loss, settings.label_smoothing
    loss = logit_loss(recipe.name, recipe.params)
    teacher_logits = torch.from_numpy(soft_labels.logits[split])

    def objective(logits: Tensor, target: Tensor, indices: Indices, epoch: int) -> Tensor:
        teacher = teacher_logits[indices, 0].to(logits.device)
        hard = F.cross_entropy(logits.float(), target, label_smoothing=smoothing)
        soft: Tensor = loss(logits.float(), teacher, target)
        return recipe.ce_weight * hard + recipe.weight * recipe.warm(epoch) * soft

    return objective


def _temperature(settings: LossSettings) -> float:
    """The recipe's, else the loss's own default."""
    loss = logit_loss(settings.name, settings.params)
    return float(inspect.signature(loss).parameters["temperature"].default)
