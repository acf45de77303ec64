"""Yang et al. (2023): From Knowledge Distillation to Self-Knowledge Distillation, arXiv:2303.13005."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from kdtool.losses.numerics import require_not_negative, require_positive, widened, without_target


def nkd_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    target: Tensor,
    *,
    gamma: float = 1.5,
    temperature: float = 1.0,
) -> Tensor:
    """Cross-entropy of target and others: mean_B (−p_t^T · log p_t^S − γ T² Σ_{k≠t} N_k^T · log N_k^S).

    p_t is the probability of the target, without temperature. N is the softmax at temperature T over the
    K − 1 other classes. Both terms are cross-entropies, so the minimum over the student is above zero.

    Args:
        student_logits, teacher_logits: (B, K).
        target: (B,) class indices.
        gamma: weight γ of the other classes.
        temperature: T > 0.

    Raises:
        UsageError: T is not positive, or a weight is negative.
    """
    require_positive(temperature=temperature)
    require_not_negative(gamma=gamma)
    student, teacher = widened(student_logits, teacher_logits)
    column = target[:, None]
    teacher_target = F.softmax(teacher, dim=1).gather(1, column)
    hard = -(teacher_target * F.log_softmax(student, dim=1).gather(1, column)).mean()
    log_others = F.log_softmax(without_target(student, target) / temperature, dim=1)
    teacher_others = F.softmax(without_target(teacher, target) / temperature, dim=1)
    soft = -(teacher_others * log_others).sum(dim=1).mean()
    return hard + gamma * temperature**2 * soft
