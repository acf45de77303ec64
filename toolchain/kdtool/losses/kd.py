"""Hinton, Vinyals, Dean (2015): Distilling the Knowledge in a Neural Network, arXiv:1503.02531."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from kdtool.losses.numerics import require_positive, widened
from kdtool.losses.standardize import standardize as standardized


def kd_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    target: Tensor,  # noqa: ARG001 (every logit loss has the same arguments)
    *,
    temperature: float = 4.0,
    standardize: bool = False,
) -> Tensor:
    """KL divergence of the softened outputs: T² · mean_B Σ_K σ(t/T) · (log σ(t/T) − log σ(s/T)).

    The factor T² keeps the size of the gradient independent of T. The loss is zero if student = teacher.

    Args:
        student_logits, teacher_logits: (B, K).
        target: (B,) class indices; unused.
        temperature: T > 0.
        standardize: standardize the logits of both networks (`kdtool.losses.standardize`).

    Raises:
        UsageError: T is not positive.
    """
    require_positive(temperature=temperature)
    student, teacher = widened(student_logits, teacher_logits)
    if standardize:
        student, teacher = standardized(student), standardized(teacher)
    log_student = F.log_softmax(student / temperature, dim=1)
    log_teacher = F.log_softmax(teacher / temperature, dim=1)
    return F.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True) * temperature**2
