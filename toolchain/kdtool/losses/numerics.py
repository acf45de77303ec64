"""What the logit losses share: precision, and the checks of their parameters."""

from __future__ import annotations

import torch
from torch import Tensor

from kdtool.core.errors import UsageError


def widened(student_logits: Tensor, teacher_logits: Tensor) -> tuple[Tensor, Tensor]:
    """Both in float32 at least, the teacher detached: |logit| up to 1e4 overflows in half precision."""
    dtype = torch.promote_types(student_logits.dtype, torch.float32)
    return student_logits.to(dtype), teacher_logits.detach().to(dtype)


def require_positive(**params: float) -> None:
    """Raise UsageError naming the first parameter that is not above 0."""
    for name, value in params.items():
        if not value > 0:
            raise UsageError(
                f"student.loss.{name} is {value}; allowed: above 0.", f"Example: --set student.loss.{name}=2"
            )


def without_target(logits: Tensor, target: Tensor) -> Tensor:
    """The logits of the other classes, in order: (B, K), (B,) → (B, K − 1)."""
    others = torch.ones_like(logits, dtype=torch.bool).scatter_(1, target[:, None], False)
    return logits[others].view(logits.shape[0], -1)
