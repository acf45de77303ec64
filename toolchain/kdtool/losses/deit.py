"""Touvron et al. (2021): Training data-efficient image transformers, arXiv:2012.12877.

The losses of the distillation head alone; the class head's cross-entropy is the recipe's `ce_weight`.
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
        student_logits: (B, K) of the distillation head.
        teacher_logits: (B, K) on the very same (augmented) images.
        target: (B,) class indices; unused.
        temperature: only 1; a hard decision has none.

    Raises:
        UsageError: another temperature.
    """
    if temperature != 1.0:
        raise ArgumentError(
            "temperature",
            f" is {temperature}; deit_hard follows the teacher's hard decision, which has none; allowed: 1.",
            "With a temperature:",
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
    """T² / (B K) · Σ_B Σ_K σ(t/T) · (log σ(t/T) − log σ(s/T)).

    As the authors' code has it: the divergence is divided by the classes too, so the term is K times
    smaller than Hinton's and almost vanishes at K = 1000. `kd` on the distillation head is the loss
    of their text.

    Args:
        student_logits: (B, K) of the distillation head.
        teacher_logits: (B, K) on the very same (augmented) images.
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
