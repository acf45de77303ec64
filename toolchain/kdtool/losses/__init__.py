"""Distillation losses, by name. A new method is one file here and one line in a table below.

A logit loss is a pure function

    loss(student_logits, teacher_logits, target, **params) -> scalar tensor

of (B, K) logits and (B,) class indices, mean over the batch, cross-entropy with the hard labels
excluded, without gradient to the teacher. Its keyword arguments are the recipe's parameters.

A feature loss is a module with its own helper layers, which train with the student,

    loss = Loss(student_shapes, teacher_shapes, **params)
    loss(student_features, teacher_features) -> scalar tensor

of one shape and one feature a stage: (C, H, W) and (B, C, H, W) of maps, (N, D) and (B, N, D) of patch
tokens. `Loss.choose(student_stages, teacher_stages)` pairs the stages it compares by default.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from kdtool.core.featurestage import FeatureStage
from kdtool.losses.arguments import ArgumentError, as_fields
from kdtool.losses.attention_transfer import AttentionTransfer
from kdtool.losses.binding import bind, elsewhere
from kdtool.losses.deit import deit_hard_loss, deit_soft_loss
from kdtool.losses.dist import dist_loss
from kdtool.losses.dkd import dkd_loss
from kdtool.losses.fitnet import FitNet
from kdtool.losses.kd import kd_loss
from kdtool.losses.nkd import nkd_loss
from kdtool.losses.reviewkd import ReviewKD
from kdtool.losses.stages import Pairs, Shapes, select
from kdtool.losses.vitkd import ViTKD

LogitLoss = Callable[..., Tensor]


class FeatureLoss(Protocol):
    """The class of a feature loss; `EXAMPLE` are shapes of stages that it takes."""

    EXAMPLE: Shapes

    def __call__(self, *args: Any, **kwargs: Any) -> nn.Module: ...

    def choose(self, student: Sequence[FeatureStage], teacher: Sequence[FeatureStage]) -> Pairs: ...


LOGIT_LOSSES: dict[str, LogitLoss] = {
    "kd": kd_loss,
    "dkd": dkd_loss,
    "nkd": nkd_loss,
    "dist": dist_loss,
    "deit_hard": deit_hard_loss,
    "deit_soft": deit_soft_loss,
}

FEATURE_LOSSES: dict[str, FeatureLoss] = {
    "fitnet": FitNet,
    "attention_transfer": AttentionTransfer,
    "reviewkd": ReviewKD,
    "vitkd": ViTKD,
}

__all__ = [
    "FEATURE_LOSSES",
    "LOGIT_LOSSES",
    "FeatureLoss",
    "LogitLoss",
    "create_loss",
    "deit_hard_loss",
    "deit_soft_loss",
    "dist_loss",
    "dkd_loss",
    "feature_loss",
    "kd_loss",
    "logit_loss",
    "nkd_loss",
    "pair_stages",
]


def create_loss(name: str, params: Mapping[str, Any]) -> Callable[..., Any]:
    """The loss `name` of either table with its parameters bound; see `logit_loss` and `feature_loss`.

    Raises:
        ArgumentError: unknown name, or parameters the loss does not have or cannot take.
    """
    if name not in LOGIT_LOSSES and name not in FEATURE_LOSSES:
        allowed = ", ".join([*LOGIT_LOSSES, *FEATURE_LOSSES])
        raise ArgumentError("name", f" is {name!r}; allowed: {allowed}.", "See kdtool.list_losses().")
    return _logit_loss(name, params) if name in LOGIT_LOSSES else _feature_loss(name, params)


@as_fields("student.loss")
def logit_loss(name: str, params: Mapping[str, Any]) -> LogitLoss:
    """The loss of the recipe's section [student.loss]: a function of (student, teacher, target).

    Raises:
        UsageError: unknown name, or parameters the loss does not have or cannot take; names the field.
    """
    return _logit_loss(name, params)


@as_fields("student.features")
def feature_loss(name: str, params: Mapping[str, Any]) -> Callable[..., nn.Module]:
    """The loss of the recipe's section [student.features]: of (student_shapes, teacher_shapes) → module.

    Raises:
        UsageError: unknown name, or parameters the loss does not have or cannot take; names the field.
    """
    return as_fields("student.features")(_feature_loss(name, params))


def _logit_loss(name: str, params: Mapping[str, Any]) -> LogitLoss:

    def trial(loss: LogitLoss) -> None:
        logits = torch.tensor([[0.0, 1.0, 2.0], [3.0, 0.0, 1.0]])
        value = loss(logits, logits.flip(1), torch.tensor([0, 1]))
        if not torch.isfinite(value):
            raise ValueError(f"the loss is {value.item()}")

    others = elsewhere("student.features", "feature", FEATURE_LOSSES)
    return bind(LOGIT_LOSSES, others, name, params, trial)


def _feature_loss(name: str, params: Mapping[str, Any]) -> Callable[..., nn.Module]:

    def trial(loss: Callable[..., nn.Module]) -> None:
        with torch.device("meta"):  # nothing is initialized, no random number drawn
            loss(FEATURE_LOSSES[name].EXAMPLE, FEATURE_LOSSES[name].EXAMPLE)

    others = elsewhere("student.loss", "logit", LOGIT_LOSSES)
    return bind(FEATURE_LOSSES, others, name, params, trial)


@as_fields("student.features")
def pair_stages(
    name: str,
    student: Sequence[FeatureStage],
    teacher: Sequence[FeatureStage],
    student_names: Sequence[str] = (),
    teacher_names: Sequence[str] = (),
) -> Pairs:
    """The stages the feature loss `name` compares: those of these names, in order, or its own choice.

    Raises:
        UsageError: names of no stage, more of one network than of the other, or no stages that fit.
    """
    if not student_names and not teacher_names:
        return FEATURE_LOSSES[name].choose(student, teacher)
    if len(student_names) != len(teacher_names):
        raise ArgumentError(
            "",
            f": {len(student_names)} student_stages and {len(teacher_names)} teacher_stages; "
            "allowed: as many of one as of the other, paired in order.",
            f"Name both, or leave both out for the choice of {name}.",
        )
    ours = select(student, student_names, "student_stages")
    theirs = select(teacher, teacher_names, "teacher_stages")
    return list(zip(ours, theirs, strict=True))
