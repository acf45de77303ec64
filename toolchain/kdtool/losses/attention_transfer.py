"""Zagoruyko, Komodakis (2017): Paying More Attention to Attention, arXiv:1612.03928."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdtool.core.stageoutput import StageOutput
from kdtool.losses.numerics import require, widened
from kdtool.losses.stages import Pairs, Shapes, common_maps, require_maps

SMALLEST = 1e-6  # activations below it count as none
FEWEST_POSITIONS = 49  # of the smallest map that the authors tuned the weight for: 7×7, layer4 at 224 pixels


class AttentionTransfer(nn.Module):
    """Σ over the stages of min(1, H·W / 49) · `attention_transfer`; the authors weigh it with 1000.

    Since ‖q‖ = 1, the mean over the positions grows as a map gets smaller: at 64 pixels the 2×2 of a
    last stage would count 12 times what it does at 224, and drown the labels. So maps below 7×7 count
    as one of 7×7 with the same ‖q(s) − q(t)‖. From 7×7 on it is the published loss. No helper layers.

    Args:
        student_shapes, teacher_shapes: (C, H, W) of each stage.
        p: power of the activations, at least 1.

    Raises:
        UsageError: p is below 1, or a stage is no feature map.
    """

    EXAMPLE: ClassVar[Shapes] = ((2, 4, 4),)

    def __init__(self, student_shapes: Shapes, teacher_shapes: Shapes, *, p: float = 2.0) -> None:
        super().__init__()
        require_maps(student_shapes, teacher_shapes)
        require("student.features.p", p, p >= 1, "1 and more", example=2)
        self.p = p

    @staticmethod
    def choose(student: Sequence[StageOutput], teacher: Sequence[StageOutput]) -> Pairs:
        """All stages with maps of one size, after the stem."""
        return common_maps(student, teacher)

    def forward(self, student_features: Sequence[Tensor], teacher_features: Sequence[Tensor]) -> Tensor:
        """(B, C, H, W) of each stage → scalar."""
        pairs = zip(student_features, teacher_features, strict=True)
        losses = [
            _share_of_published(student, teacher) * attention_transfer(student, teacher, self.p)
            for student, teacher in pairs
        ]
        return torch.stack(losses).sum()


def attention_transfer(student_feature: Tensor, teacher_feature: Tensor, p: float = 2.0) -> Tensor:
    """mean_B mean_HW (q(s) − q(t))², q = Q / ‖Q‖₂ and Q = mean_C |A|^p: where a network looks.

    The larger map is averaged down to the smaller first. Zero where student = teacher.

    The published code takes A^p, which for an odd p is not the |A|^p of the paper, and overflows for
    large activations; here each image's map is divided by its largest activation before the power,
    which q does not notice. A map of zeros has q = 0 and no gradient.

    Args:
        student_feature: (B, C_s, H_s, W_s).
        teacher_feature: (B, C_t, H_t, W_t).
    """
    student, teacher = widened(student_feature, teacher_feature)
    side = _common_side(student, teacher)
    student, teacher = (F.adaptive_avg_pool2d(feature, side) for feature in (student, teacher))
    return (_attention(student, p) - _attention(teacher, p)).square().mean()


def _common_side(student: Tensor, teacher: Tensor) -> tuple[int, int]:
    return min(student.shape[2], teacher.shape[2]), min(student.shape[3], teacher.shape[3])


def _share_of_published(student: Tensor, teacher: Tensor) -> float:
    height, width = _common_side(student, teacher)
    return min(1.0, height * width / FEWEST_POSITIONS)


def _attention(feature: Tensor, p: float) -> Tensor:
    """(B, C, H, W) → (B, H·W), each row of norm 1."""
    activation = feature.abs()
    largest = activation.detach().amax(dim=(1, 2, 3), keepdim=True).clamp(min=SMALLEST)
    return F.normalize((activation / largest).pow(p).mean(dim=1).flatten(1))
