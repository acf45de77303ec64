"""What the losses share: precision, and the checks of their parameters."""

from __future__ import annotations

import torch
from torch import Tensor

from kdtool.losses.arguments import ArgumentError


def widened(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Both in float32 at least, the teacher detached: values up to 1e4 overflow in half precision."""
    dtype = torch.promote_types(student.dtype, torch.float32)
    return student.to(dtype), teacher.detach().to(dtype)


def full_precision(feature: Tensor) -> torch.autocast:
    """Where helper layers work: autocast would take their convolutions back to half precision."""
    return torch.autocast(feature.device.type, enabled=False)


def require(name: str, value: float, holds: bool, allowed: str, *, example: float) -> None:
    """Raise ArgumentError naming the parameter unless its value `holds`."""
    if not holds:
        raise ArgumentError(name, f" is {value}; allowed: {allowed}.", "Example:", f"{name}={example:g}")


def require_positive(**params: float) -> None:
    """Raise ArgumentError naming the first parameter that is not above 0."""
    for name, value in params.items():
        require(name, value, value > 0, "above 0", example=2)


def require_not_negative(**params: float) -> None:
    """Raise ArgumentError naming the first parameter that is below 0."""
    for name, value in params.items():
        require(name, value, value >= 0, "0 and more", example=1)


def without_target(logits: Tensor, target: Tensor) -> Tensor:
    """The logits of the other classes, in order: (B, K), (B,) → (B, K − 1)."""
    others = torch.ones_like(logits, dtype=torch.bool).scatter_(1, target[:, None], False)
    return logits[others].view(logits.shape[0], -1)
