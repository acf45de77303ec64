"""Hinton, Vinyals, Dean (2015): Distilling the Knowledge in a Neural Network, arXiv:1503.02531."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kdtool.core.errors import UsageError


def kd_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    target: Tensor,  # noqa: ARG001 (every logit loss has the same arguments)
    *,
    temperature: float = 4.0,
) -> Tensor:
    """T² · mean_B Σ_K σ(t/T) · (log σ(t/T) − log σ(s/T)), the KL divergence of softened outputs.

    The factor T² keeps the gradient's size independent of T. Zero where student = teacher. Half
    precision is computed in float32, so that |logit| up to 1e4 stays finite.

    Args:
        student_logits, teacher_logits: (B, K).
        target: (B,) class indices; unused.
        temperature: T > 0.

    Raises:
        UsageError: T is not positive.
    """
    if not temperature > 0:
        raise UsageError(f"student.loss.temperature is {temperature}; allowed: above 0.")
    dtype = torch.promote_types(student_logits.dtype, torch.float32)
    student = F.log_softmax(student_logits.to(dtype) / temperature, dim=1)
    teacher = F.log_softmax(teacher_logits.detach().to(dtype) / temperature, dim=1)
    divergence = F.kl_div(student, teacher, reduction="batchmean", log_target=True)
    return divergence * temperature**2
