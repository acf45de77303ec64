"""Helpers that the losses share: precision, and checks of parameters."""

from __future__ import annotations

import torch
from torch import Tensor

from kdtool.losses.arguments import ArgumentError


def widened(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Convert both to float32 at least, since 1e4 overflows in half precision; detach the teacher."""
    dtype = torch.promote_types(student.dtype, torch.float32)
    return student.to(dtype), teacher.detach().to(dtype)


def full_precision(feature: Tensor) -> torch.autocast:
    """Switch autocast off for helper layers; it would compute their convolutions in half precision."""
    return torch.autocast(feature.device.type, enabled=False)


def require(name: str, value: float, holds: bool, allowed: str, *, example: float) -> None:
    """Raise ArgumentError with the name of the parameter unless `holds` is true."""
    if not holds:
        raise ArgumentError(name, f" is {value}; allowed: {allowed}.", "Example:", f"{name}={example:g}")


def require_positive(**params: float) -> None:
    """Raise ArgumentError with the name of the first parameter that is not above 0."""
    for name, value in params.items():
        require(name, value, value > 0, "above 0", example=2)


def require_not_negative(**params: float) -> None:
    """Raise ArgumentError with the name of the first parameter that is below 0."""
    for name, value in params.items():
        require(name, value, value >= 0, "0 or more", example=1)


def without_target(logits: Tensor, target: Tensor) -> Tensor:
    """Logits of the other classes, in order: (B, K), (B,) → (B, K − 1)."""
    others = torch.ones_like(logits, dtype=torch.bool).scatter_(1, target[:, None], False)
    return logits[others].view(logits.shape[0], -1)
