"""Zhao, Cui, Song, Qiu, Liang (2022): Decoupled Knowledge Distillation, arXiv:2203.08679."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kdtool.losses.numerics import require_not_negative, require_positive, widened, without_target
from kdtool.losses.standardize import standardize as standardized


def dkd_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    target: Tensor,
    *,
    alpha: float = 1.0,
    beta: float = 8.0,
    temperature: float = 4.0,
    standardize: bool = False,
) -> Tensor:
    """KL divergence in two parts with free weights: T² · mean_B (α · TCKD + β · NCKD).

    TCKD is the KL divergence of the two-way distributions (target, all other classes). NCKD is the KL
    divergence over the K − 1 other classes only, renormalized. In Hinton's loss NCKD has the weight
    1 − p_target of the teacher, so it is suppressed if the teacher is sure; here its weight is free. The loss
    is zero if student = teacher. With K = 2 there is one other class, and NCKD is zero by definition.

    The published code takes the logarithm of probabilities that underflow. Here both parts are computed
    with log-sum-exp and stay finite.

    Args:
        student_logits, teacher_logits: (B, K).
        target: (B,) class indices.
        alpha, beta: weights; the authors tuned 1 and 8 for 100 classes and use 1 and 0.5 for ImageNet.
        temperature: T > 0.
        standardize: standardize the logits of both networks (`kdtool.losses.standardize`).

    Raises:
        UsageError: T is not positive, or a weight is negative.
    """
    require_positive(temperature=temperature)
    require_not_negative(alpha=alpha, beta=beta)
    student, teacher = widened(student_logits, teacher_logits)
    if standardize:
        student, teacher = standardized(student), standardized(teacher)
    student, teacher = student / temperature, teacher / temperature
    tckd = _divergence(_two_way(student, target), _two_way(teacher, target))
    others = (F.log_softmax(without_target(logits, target), dim=1) for logits in (student, teacher))
    return (alpha * tckd + beta * _divergence(*others)) * temperature**2


def _two_way(logits: Tensor, target: Tensor) -> Tensor:
    """Log-probabilities (B, 2) of the target and of all other classes together."""
    pair = (logits.gather(1, target[:, None]), without_target(logits, target).logsumexp(1, keepdim=True))
    return F.log_softmax(torch.cat(pair, dim=1), dim=1)


def _divergence(log_student: Tensor, log_teacher: Tensor) -> Tensor:
    return F.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True)
