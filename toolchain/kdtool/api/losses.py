"""Create and list the losses of distillation by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from kdtool.core.spelling import Caller, called_from
from kdtool.machine.packages import require_training


@called_from(Caller.FUNCTION)
def create_loss(name: str, **parameters: bool | float) -> Callable[..., Any]:
    """Create a loss of distillation.

    Args:
        name: one of `kdtool.list_losses()`.
        parameters: parameters of the loss, such as temperature; the others have the defaults of the loss.

    Returns:
        For a logit loss: loss(student_logits, teacher_logits, target) → scalar, with logits (N, classes) and
        class indices (N,); it does not contain the cross-entropy with the labels. For a feature loss:
        loss(student_shapes, teacher_shapes) → torch module with helper layers, which train together with the
        student; call the module with the feature maps of both networks, one tensor for each feature stage.

    Raises:
        UsageError: the name is unknown, or the loss does not have or cannot take a parameter.

    Example:
        loss = kdtool.create_loss("dkd", beta=2.0)
        loss(student(images), teacher(images), labels).backward()
    """
    require_training("create_loss")
    from kdtool.losses import create_loss as create

    return create(name, parameters)


def list_losses() -> dict[str, str]:
    """List the losses of distillation: name → description.

    Example:
        for name, description in kdtool.list_losses().items():
            print(name, description)
    """
    require_training("list_losses")
    from kdtool.losses import FEATURE_LOSSES, LOGIT_LOSSES

    losses: dict[str, Any] = {**LOGIT_LOSSES, **FEATURE_LOSSES}
    return {name: (inspect.getdoc(loss) or "").splitlines()[0] for name, loss in losses.items()}
