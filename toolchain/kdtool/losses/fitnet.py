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
    """Hint loss: sum over the stages of mean (r(s) − t)², r = convolution and batch normalization.

    A usual weight is 100. r maps the student's channels to the teacher's channels: a 1×1 convolution for
    maps of the same size, a 3×3 convolution with stride 2 if the teacher's map is half as large, a
    transposed 4×4 convolution if it is twice as large, otherwise a convolution without padding. In the
    published code r ends with a ReLU, which cannot match the negative outputs of stages such as those of
    MobileNet and EfficientNet; here there is no ReLU.

    Args:
        student_shapes, teacher_shapes: (C, H, W) of each stage.

    Raises:
        UsageError: a stage is not a feature map, or no convolution fits the two sizes.
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
        """Choose the middle pair of the stages with maps of the same size; for a ResNet this is layer2."""
        pairs = common_maps(student, teacher)
        return [pairs[(len(pairs) - 1) // 2]]

    def forward(self, student_features: Sequence[Tensor], teacher_features: Sequence[Tensor]) -> Tensor:
        """Loss (scalar) of the features (B, C, H, W) of each stage."""
        losses = []
        for regressor, *features in zip(self.regressors, student_features, teacher_features, strict=True):
            student, teacher = widened(*features)
            with full_precision(student):
                losses.append(F.mse_loss(regressor(student), teacher))
        return torch.stack(losses).sum()


def _convolution(student: tuple[int, ...], teacher: tuple[int, ...]) -> nn.Module:
    """Convolution from (B, *student) to (B, *teacher)."""
    (inputs, *sides), (outputs, *targets) = student, teacher
    if sides == targets:
        return nn.Conv2d(inputs, outputs, 1)
    if targets == [(side + 1) // 2 for side in sides]:
        return nn.Conv2d(inputs, outputs, 3, stride=2, padding=1)
    if targets == [side * 2 for side in sides]:
        return nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1)
    if targets[0] <= sides[0] and targets[1] <= sides[1]:
        return nn.Conv2d(inputs, outputs, (1 + sides[0] - targets[0], 1 + sides[1] - targets[1]))
    raise ArgumentError(
        "student_stages",
        f": a map of {sides[0]}×{sides[1]} cannot be fitted to the teacher's "
        f"{targets[0]}×{targets[1]}; allowed: a map of the same size, of half the size, or larger.",
        "Name an earlier stage of the student or a later one of the teacher, or leave the choice to fitnet.",
    )
