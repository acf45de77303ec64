"""Touvron et al. (2021): Training data-efficient image transformers, arXiv:2012.12877.

These losses use the distillation head only; `ce_weight` weighs the cross-entropy of the class head.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from kdtool.losses.arguments import ArgumentError
from kdtool.losses.numerics import require_positive, widened


def deit_hard_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    target: Tensor,  # noqa: ARG001 (every logit loss has the same arguments)
    *,
    temperature: float = 1.0,
) -> Tensor:
    """Cross-entropy with the teacher's decision: −mean_B log σ(s)[argmax t].

    Args:
        student_logits: (B, K), from the distillation head.
        teacher_logits: (B, K), for exactly the same (augmented) images.
        target: (B,) class indices; unused.
        temperature: only 1 is allowed, because a hard decision has no temperature.

    Raises:
        UsageError: the temperature is not 1.
    """
    if temperature != 1.0:
        raise ArgumentError(
            "temperature",
            f" is {temperature}; deit_hard uses the teacher's hard decision, which has no temperature; "
            "allowed: 1.",
            "A loss with a temperature:",
            "name=deit_soft",
        )
    student, teacher = widened(student_logits, teacher_logits)
    return F.cross_entropy(student, teacher.argmax(dim=1))


def deit_soft_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    target: Tensor,  # noqa: ARG001 (every logit loss has the same arguments)
    *,
    temperature: float = 3.0,
) -> Tensor:
    """KL divergence, divided by the classes too: T² / (B K) · Σ_B Σ_K σ(t/T) · (log σ(t/T) − log σ(s/T)).

    This is the authors' code. Because it also divides by the number of classes, the term is K times
    smaller than Hinton's loss and almost vanishes at K = 1000. The loss in the authors' text is `kd` on the
    distillation head.

    Args:
        student_logits: (B, K), from the distillation head.
        teacher_logits: (B, K), for exactly the same (augmented) images.
        target: (B,) class indices; unused.
        temperature: T > 0.

    Raises:
        UsageError: T is not positive.
    """
    require_positive(temperature=temperature)
    student, teacher = widened(student_logits, teacher_logits)
    log_student = F.log_softmax(student / temperature, dim=1)
    log_teacher = F.log_softmax(teacher / temperature, dim=1)
    divergence = F.kl_div(log_student, log_teacher, reduction="sum", log_target=True)
    return divergence * temperature**2 / student.numel()
