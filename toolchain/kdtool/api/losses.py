"""The losses of distillation by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from kdtool.machine.packages import require_training


def create_loss(name: str, **parameters: bool | float) -> Callable[..., Any]:
    """A loss of distillation with its parameters set.

    Args:
        name: one of `kdtool.list_losses()`.
        parameters: of the loss, such as temperature; what is left out has the loss's default.

    Returns:
        For a loss on logits: loss(student_logits, teacher_logits, target) → scalar, of logits (N, classes)
        and class indices (N,); it does not contain the cross-entropy with the labels. For a loss on features:
        loss(student_shapes, teacher_shapes) → torch module with the helper layers, which train along with the
        student; it is called with the features of both networks, one tensor for each stage.

    Raises:
        UsageError: an unknown name, or a parameter that the loss does not have or cannot take.

    Example:
        loss = kdtool.create_loss("dkd", beta=2.0)
        loss(student(images), teacher(images), labels).backward()
    """
    require_training("create_loss")
    from kdtool.losses import create_loss as create

    return create(name, parameters)


def list_losses() -> dict[str, str]:
    """The losses of distillation: name → what it computes.

    Example:
        for name, formula in kdtool.list_losses().items():
            print(name, formula)
    """
    require_training("list_losses")
    from kdtool.losses import FEATURE_LOSSES, LOGIT_LOSSES

    losses: dict[str, Any] = {**LOGIT_LOSSES, **FEATURE_LOSSES}
    return {name: (inspect.getdoc(loss) or "").splitlines()[0] for name, loss in losses.items()}
