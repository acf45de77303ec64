"""Distillation losses by name. A new method is one file here and one line in `LOGIT_LOSSES`.

A logit loss is a pure function

    loss(student_logits, teacher_logits, target, **params) -> scalar tensor

of (B, K) logits and (B,) class indices, mean over the batch, cross-entropy with the hard labels
excluded, without gradient to the teacher. Its keyword arguments are the recipe's parameters.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from kdtool.core.errors import UsageError
from kdtool.losses.deit import deit_hard_loss, deit_soft_loss
from kdtool.losses.dist import dist_loss
from kdtool.losses.dkd import dkd_loss
from kdtool.losses.kd import kd_loss
from kdtool.losses.nkd import nkd_loss

LogitLoss = Callable[..., Tensor]

LOGIT_LOSSES: dict[str, LogitLoss] = {
    "kd": kd_loss,
    "dkd": dkd_loss,
    "nkd": nkd_loss,
    "dist": dist_loss,
    "deit_hard": deit_hard_loss,
    "deit_soft": deit_soft_loss,
}

__all__ = [
    "LOGIT_LOSSES",
    "LogitLoss",
    "deit_hard_loss",
    "deit_soft_loss",
    "dist_loss",
    "dkd_loss",
    "kd_loss",
    "logit_loss",
    "nkd_loss",
]


def logit_loss(name: str, params: Mapping[str, Any]) -> LogitLoss:
    """The loss `name` with its parameters bound: a function of (student, teacher, target).

    Raises:
        UsageError: unknown name, or parameters the loss does not have.
    """
    if name not in LOGIT_LOSSES:
        raise UsageError(
            f"student.loss.name is {name!r}; allowed: {', '.join(LOGIT_LOSSES)}.", "Recipes: kdtool recipes"
        )
    loss = LOGIT_LOSSES[name]
    known = list(inspect.signature(loss).parameters)[3:]
    unknown = [key for key in params if key not in known]
    if unknown:
        raise UsageError(
            f"student.loss.{unknown[0]}: the loss {name!r} has no such parameter; allowed: "
            f"{', '.join(known)}.",
            f"Leave it out, or choose another loss: {', '.join(LOGIT_LOSSES)}.",
        )
    bound = partial(loss, **params)
    try:
        bound(torch.zeros(2, 3), torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64))
    except (TypeError, ValueError, RuntimeError) as error:
        given = ", ".join(f"{key}={value!r}" for key, value in params.items())
        raise UsageError(
            f"student.loss: the loss {name!r} cannot take {given} ({error}).",
            "Its parameters are numbers, but for standardize, which is true or false.",
        ) from error
    return bound
