"""Romero, Ballas, Kahou, Chassang, Gatta, Bengio (2015): FitNets, arXiv:1412.6550."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdtool.core.featurestage import FeatureStage
from kdtool.losses.arguments import ArgumentError
from kdtool.losses.numerics import full_precision, widened
from kdtool.losses.stages import Pairs, Shapes, common_maps, require_maps


class FitNet(nn.Module):
    """Σ over the stages of mean (r(s) − t)², r a convolution and batch normalization: the hint.

    Often weighed with 100. r maps the student's channels to the teacher's: 1×1 for maps of one size,
    3×3 with stride 2 or its transpose for a factor of two, else a convolution without padding. The
    published code ends r in a ReLU, which cannot follow stages that put out negative values, such as
    those of MobileNet and EfficientNet; here it does not.

    Args:
        student_shapes, teacher_shapes: (C, H, W) of each stage.

    Raises:
        UsageError: a stage is no feature map, or the teacher's is more than twice the student's size.
    """

    EXAMPLE: ClassVar[Shapes] = ((2, 4, 4),)

    def __init__(self, student_shapes: Shapes, teacher_shapes: Shapes) -> None:
        super().__init__()
        require_maps(student_shapes, teacher_shapes)
        self.regressors = nn.ModuleList(
            nn.Sequential(_convolution(student, teacher), nn.BatchNorm2d(teacher[0]))
            for student, teacher in zip(student_shapes, teacher_shapes, strict=True)
        )

    @staticmethod
    def choose(student: Sequence[FeatureStage], teacher: Sequence[FeatureStage]) -> Pairs:
        """The middle one of the stages with maps of one size; of a ResNet, layer2."""
        pairs = common_maps(student, teacher)
        return [pairs[(len(pairs) - 1) // 2]]

    def forward(self, student_features: Sequence[Tensor], teacher_features: Sequence[Tensor]) -> Tensor:
        """(B, C, H, W) of each stage → scalar."""
        losses = []
        for regressor, *features in zip(self.regressors, student_features, teacher_features, strict=True):
            student, teacher = widened(*features)
            with full_precision(student):
                losses.append(F.mse_loss(regressor(student), teacher))
        return torch.stack(losses).sum()


def _convolution(student: tuple[int, ...], teacher: tuple[int, ...]) -> nn.Module:
    """(B, *student) → (B, *teacher)."""
    (inputs, *own), (outputs, *wanted) = student, teacher
    if own == wanted:
        return nn.Conv2d(inputs, outputs, 1)
    if wanted == [(side + 1) // 2 for side in own]:
        return nn.Conv2d(inputs, outputs, 3, stride=2, padding=1)
    if wanted == [side * 2 for side in own]:
        return nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1)
    if wanted[0] <= own[0] and wanted[1] <= own[1]:
        return nn.Conv2d(inputs, outputs, (1 + own[0] - wanted[0], 1 + own[1] - wanted[1]))
    raise ArgumentError(
        "student_stages",
        f": a map of {own[0]}×{own[1]} cannot be fitted to the teacher's "
        f"{wanted[0]}×{wanted[1]}; allowed: equal, twice or half the size, or larger.",
        "Name an earlier stage of the student or a later one of the teacher, or leave the choice to fitnet.",
    )
