"""Huang, You, Wang, Qian, Xu (2022): Knowledge Distillation from A Stronger Teacher, arXiv:2205.10536."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kdtool.losses.numerics import require_not_negative, require_positive, widened

EPSILON = 1e-8  # as published; it counts where a class has next to no probability in the whole batch
CONSTANT = 1e-6  # below this norm rounding alone is left, and the published gradient is of order 1/EPSILON


def dist_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    target: Tensor,  # noqa: ARG001 (every logit loss has the same arguments)
    *,
    beta: float = 1.0,
    gamma: float = 1.0,
    temperature: float = 1.0,
) -> Tensor:
    """T² · (β · mean_B (1 − ρ(rows)) + γ · mean_K (1 − ρ(columns))), ρ Pearson's correlation.

    Of the softened probabilities: rows relate the classes of one image, columns the images of a batch
    within one class. Only relations are matched, which a much stronger teacher leaves possible. The
    authors use β = γ = 1 (2 in a variant) and advise T = 4 with few classes. With 2 classes ρ of a row
    is ±1 and has no gradient; what is left is the part within a class.

    A row whose probabilities are all but equal (norm below 1e-6) has ρ = 0 and no gradient here: in the
    published code that is rounding divided by 1e-8.

    Args:
        student_logits, teacher_logits: (B, K).
        target: (B,) class indices; unused.
        temperature: T > 0.

    Raises:
        UsageError: T is not positive, or a weight is negative.
    """
    require_positive(temperature=temperature)
    require_not_negative(beta=beta, gamma=gamma)
    student, teacher = (
        F.softmax(logits / temperature, dim=1) for logits in widened(student_logits, teacher_logits)
    )
    inter = 1 - _correlation(student, teacher).mean()
    intra = 1 - _correlation(student.T, teacher.T).mean()
    return (beta * inter + gamma * intra) * temperature**2


def _correlation(one: Tensor, other: Tensor) -> Tensor:
    """Pearson's ρ of each row; 0, without gradient, where a row is constant."""
    one, other = (rows - rows.mean(1, keepdim=True) for rows in (one, other))
    flat = one.detach().norm(dim=1, keepdim=True) < CONSTANT
    one = torch.where(flat, torch.zeros_like(one), one)
    correlation: Tensor = (one * other).sum(1) / (one.norm(dim=1) * other.norm(dim=1) + EPSILON)
    return correlation
