"""Distillation losses, by name. A new method is one file here and one line in a table below.

A logit loss is a pure function

    loss(student_logits, teacher_logits, target, **params) -> scalar tensor

of logits (B, K) and class indices (B,). The loss is the mean over the batch. It does not contain the
cross-entropy with the hard labels, and it gives no gradient to the teacher. Its keyword arguments are the
parameters in the recipe.

A feature loss is a module with helper layers, which train together with the student:

    loss = Loss(student_shapes, teacher_shapes, **params)
    loss(student_features, teacher_features) -> scalar tensor

with one shape and one feature for each stage. A feature map has the shape (C, H, W) and the feature
(B, C, H, W); patch tokens have the shape (N, D) and the feature (B, N, D).
`Loss.choose(student_stages, teacher_stages)` pairs the stages that the loss compares by default.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from kdtool.core.featurestage import FeatureStage
from kdtool.losses.arguments import ArgumentError, as_fields
from kdtool.losses.attention_transfer import AttentionTransfer
from kdtool.losses.binding import bind, other_table_hints
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
    """The class of a feature loss.

    Attributes:
        EXAMPLE: shapes of stages that the loss accepts.
    """

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
    """Return the loss `name` of either table with its parameters bound; see `logit_loss` and `feature_loss`.

    Raises:
        ArgumentError: the name is unknown, or the loss does not have or cannot take a parameter.
    """
    if name not in LOGIT_LOSSES and name not in FEATURE_LOSSES:
        allowed = ", ".join([*LOGIT_LOSSES, *FEATURE_LOSSES])
        raise ArgumentError("name", f" is {name!r}; allowed: {allowed}.", "See kdtool.list_losses().")
    return _logit_loss(name, params) if name in LOGIT_LOSSES else _feature_loss(name, params)


@as_fields("student.loss")
def logit_loss(name: str, params: Mapping[str, Any]) -> LogitLoss:
    """Return the loss of the recipe's section [student.loss]: a function of (student, teacher, target).

    Raises:
        UsageError: the name is unknown, or the loss does not have or cannot take a parameter; the message
            names the field of the recipe.
    """
    return _logit_loss(name, params)


@as_fields("student.features")
def feature_loss(name: str, params: Mapping[str, Any]) -> Callable[..., nn.Module]:
    """Return the loss of the recipe's section [student.features]: (student_shapes, teacher_shapes) → module.

    Raises:
        UsageError: the name is unknown, or the loss does not have or cannot take a parameter; the message
            names the field of the recipe.
    """
    return as_fields("student.features")(_feature_loss(name, params))


def _logit_loss(name: str, params: Mapping[str, Any]) -> LogitLoss:

    def trial(loss: LogitLoss) -> None:
        logits = torch.tensor([[0.0, 1.0, 2.0], [3.0, 0.0, 1.0]])
        value = loss(logits, logits.flip(1), torch.tensor([0, 1]))
        if not torch.isfinite(value):
            raise ValueError(f"the loss is {value.item()}")

    others = other_table_hints("student.features", "feature", FEATURE_LOSSES)
    return bind(LOGIT_LOSSES, others, name, params, trial)


def _feature_loss(name: str, params: Mapping[str, Any]) -> Callable[..., nn.Module]:

    def trial(loss: Callable[..., nn.Module]) -> None:
        with torch.device("meta"):  # initializes nothing and draws no random number
            loss(FEATURE_LOSSES[name].EXAMPLE, FEATURE_LOSSES[name].EXAMPLE)

    others = other_table_hints("student.loss", "logit", LOGIT_LOSSES)
    return bind(FEATURE_LOSSES, others, name, params, trial)


@as_fields("student.features")
def pair_stages(
    name: str,
    student: Sequence[FeatureStage],
    teacher: Sequence[FeatureStage],
    student_names: Sequence[str] = (),
    teacher_names: Sequence[str] = (),
) -> Pairs:
    """Pair the stages that the feature loss `name` compares: the named ones in order, or its default choice.

    Raises:
        UsageError: a name belongs to no stage, one network has more names than the other, or no stages fit.
    """
    if not student_names and not teacher_names:
        return FEATURE_LOSSES[name].choose(student, teacher)
    if len(student_names) != len(teacher_names):
        raise ArgumentError(
            "",
            f": {len(student_names)} student_stages and {len(teacher_names)} teacher_stages; "
            "allowed: the same number of both; they are paired in order.",
            f"Name the stages of both networks, or leave both out: {name} then chooses them.",
        )
    students = select(student, student_names, "student_stages")
    teachers = select(teacher, teacher_names, "teacher_stages")
    return list(zip(students, teachers, strict=True))
