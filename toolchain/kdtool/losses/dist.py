"""Huang, You, Wang, Qian, Xu (2022): Knowledge Distillation from A Stronger Teacher, arXiv:2205.10536."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kdtool.losses.numerics import require_not_negative, require_positive, widened

EPSILON = 1e-8  # as published; it matters if a class has almost no probability in the whole batch
CONSTANT = 1e-6  # a smaller norm is rounding only, and the published gradient would be of order 1/EPSILON


def dist_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    target: Tensor,  # noqa: ARG001 (every logit loss has the same arguments)
    *,
    beta: float = 1.0,
    gamma: float = 1.0,
    temperature: float = 1.0,
) -> Tensor:
    """Correlation (Pearson's ρ) loss: T² · (β · mean_B (1 − ρ(rows)) + γ · mean_K (1 − ρ(columns))).

    ρ compares the softened probabilities. A row relates the classes of one image, a column the images of a
    batch in one class. The student matches relations only, so it can also follow a much stronger teacher.
    The authors use β = γ = 1 (2 in a variant) and advise T = 4 with few classes. With 2 classes ρ of a row is
    ±1 and has no gradient; only the columns are left.

    A row whose probabilities are almost equal (norm below 1e-6) has ρ = 0 and no gradient here; the
    published code divides rounding errors by 1e-8.

    Args:
        student_logits, teacher_logits: (B, K).
        target: (B,) class indices; unused.
        beta, gamma: weights β of the rows and γ of the columns.
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


def _correlation(student: Tensor, teacher: Tensor) -> Tensor:
    """Pearson's ρ of each row; 0, without gradient, if the student's row is constant."""
    student, teacher = (rows - rows.mean(1, keepdim=True) for rows in (student, teacher))
    flat = student.detach().norm(dim=1, keepdim=True) < CONSTANT
    student = torch.where(flat, torch.zeros_like(student), student)
    norms = student.norm(dim=1) * teacher.norm(dim=1)
    correlation: Tensor = (student * teacher).sum(1) / (norms + EPSILON)
    return correlation
