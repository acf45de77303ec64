"""What the losses share: precision, and the checks of their parameters."""

from __future__ import annotations

import torch
from torch import Tensor

from kdtool.core.errors import UsageError


def widened(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Both in float32 at least, the teacher detached: values up to 1e4 overflow in half precision."""
    dtype = torch.promote_types(student.dtype, torch.float32)
    return student.to(dtype), teacher.detach().to(dtype)


def full_precision(feature: Tensor) -> torch.autocast:
    """Where helper layers work: autocast would take their convolutions back to half precision."""
    return torch.autocast(feature.device.type, enabled=False)


def require(field: str, value: float, holds: bool, allowed: str, *, example: float) -> None:
    """Raise UsageError naming the recipe's field unless its value `holds`."""
    if not holds:
        raise UsageError(f"{field} is {value}; allowed: {allowed}.", f"Example: --set {field}={example:g}")


def require_positive(**params: float) -> None:
    """Raise UsageError naming the first parameter that is not above 0."""
    for name, value in params.items():
        if not value > 0:
            raise UsageError(
                f"student.loss.{name} is {value}; allowed: above 0.", f"Example: --set student.loss.{name}=2"
            )


def require_not_negative(**params: float) -> None:
    """Raise UsageError naming the first parameter that is below 0."""
    for name, value in params.items():
        require(f"student.loss.{name}", value, value >= 0, "0 and more", example=1)


def without_target(logits: Tensor, target: Tensor) -> Tensor:
    """The logits of the other classes, in order: (B, K), (B,) → (B, K − 1)."""
    others = torch.ones_like(logits, dtype=torch.bool).scatter_(1, target[:, None], False)
    return logits[others].view(logits.shape[0], -1)
