"""Zagoruyko, Komodakis (2017): Paying More Attention to Attention, arXiv:1612.03928."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdtool.core.featurestage import FeatureStage
from kdtool.losses.numerics import require, widened
from kdtool.losses.stages import Pairs, Shapes, common_maps, require_maps

SMALLEST = 1e-6  # smaller activations count as zero


class AttentionTransfer(nn.Module):
    """Sum over the stages of min(1, H·W / min_positions) · `attention_transfer`. No helper layers.

    The authors use the weight 1000; their loss has min_positions = 0. Since ‖q‖ = 1, the mean over the
    positions grows when a map gets smaller. For images of 64 pixels the last stage has a 2×2 map, which
    counts 12 times as much as the 7×7 map for 224 pixels, the smallest map for which the weight was tuned;
    the loss then outweighs the labels. With min_positions = 49, as in the recipe `attention-transfer`, a
    smaller map counts as much as a 7×7 map with the same ‖q(s) − q(t)‖.

    Args:
        student_shapes, teacher_shapes: (C, H, W) of each stage.
        p: power of the activations, at least 1.
        min_positions: a stage with fewer positions H·W counts less; 0 is the published loss.

    Raises:
        UsageError: p is below 1, min_positions is below 0, or a stage is not a feature map.
    """

    EXAMPLE: ClassVar[Shapes] = ((2, 4, 4),)

    def __init__(
        self, student_shapes: Shapes, teacher_shapes: Shapes, *, p: float = 2.0, min_positions: int = 0
    ) -> None:
        super().__init__()
        require_maps(student_shapes, teacher_shapes)
        require("p", p, p >= 1, "1 or more", example=2)
        require("min_positions", min_positions, min_positions >= 0, "0 or more", example=49)
        self.p, self.min_positions = p, min_positions

    @staticmethod
    def choose(student: Sequence[FeatureStage], teacher: Sequence[FeatureStage]) -> Pairs:
        """Pair all stages after the stem whose maps have the same size."""
        return common_maps(student, teacher)

    def forward(self, student_features: Sequence[Tensor], teacher_features: Sequence[Tensor]) -> Tensor:
        """Loss (scalar) of the features (B, C, H, W) of each stage."""
        pairs = zip(student_features, teacher_features, strict=True)
        losses = [
            self._share(student, teacher) * attention_transfer(student, teacher, self.p)
            for student, teacher in pairs
        ]
        return torch.stack(losses).sum()

    def _share(self, student: Tensor, teacher: Tensor) -> float:
        """Weight of a stage: min(1, H·W / min_positions)."""
        height, width = _common_side(student, teacher)
        return height * width / max(height * width, self.min_positions)


def attention_transfer(student_feature: Tensor, teacher_feature: Tensor, p: float = 2.0) -> Tensor:
    """Difference of the attention maps q: mean_B mean_HW (q(s) − q(t))², q = Q / ‖Q‖₂, Q = mean_C |A|^p.

    An attention map shows where a network looks. The larger map is first averaged to the size of the
    smaller map. The loss is zero if student = teacher.

    The published code computes A^p, which for an odd p differs from the |A|^p of the paper, and which
    overflows for large activations. Here the map of each image is divided by its largest activation before
    the power, which does not change q. A map of zeros has q = 0 and no gradient.

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


def _attention(feature: Tensor, p: float) -> Tensor:
    """Attention maps (B, C, H, W) → (B, H·W); each row has norm 1."""
    activation = feature.abs()
    largest = activation.detach().amax(dim=(1, 2, 3), keepdim=True).clamp(min=SMALLEST)
    return F.normalize((activation / largest).pow(p).mean(dim=1).flatten(1))
