"""Chen, Liu, Zhao, Jia (2021): Distilling Knowledge via Knowledge Review, arXiv:2104.09044."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdtool.core.featurestage import FeatureStage
from kdtool.losses.numerics import full_precision, require, widened
from kdtool.losses.stages import Pairs, Shapes, common_maps, require_maps

PYRAMID = (4, 2, 1)  # sides of the grids on which `hierarchical_context` averages
MAX_CHANNELS = 512


class ReviewKD(nn.Module):
    """Sum over the levels of `hierarchical_context` (fused student, teacher), from deep to shallow.

    The levels are the stages and, as the deepest level, the globally pooled last stage. Each level of the
    student is fused with the result of the deeper levels, so that the student reviews a shallow stage of the
    teacher with all that it knows. The authors use weights from 1 to 5 and a warm-up of 20 epochs.

    The published code takes the teacher's features before the last ReLU of a stage; a `FeatureExtractor`
    returns the output of the stage.

    Args:
        student_shapes, teacher_shapes: (C, H, W) of each stage, from shallow to deep.
        mid_channels: largest number of channels of the fused features; the last stage of the student limits
            it too.
        normalize: divide the teacher's features of a level by their root mean square, image by image. The
            published code does not. Without it the weight must suit the teacher: the features of
            EfficientNet-Lite0 are ten times as large as those of a ResNet, and the loss a hundred times.

    Raises:
        UsageError: mid_channels is below 1, or a stage is not a feature map.
    """

    EXAMPLE: ClassVar[Shapes] = ((2, 4, 4),)

    def __init__(
        self,
        student_shapes: Shapes,
        teacher_shapes: Shapes,
        *,
        mid_channels: int = MAX_CHANNELS,
        normalize: bool = False,
    ) -> None:
        super().__init__()
        require_maps(student_shapes, teacher_shapes)
        require("mid_channels", mid_channels, mid_channels >= 1, "1 or more", example=512)
        levels = [(s[0], t[0]) for s, t in zip(student_shapes, teacher_shapes, strict=True)]
        levels.append(levels[-1])
        middle = min(mid_channels, levels[-1][0])
        self.normalize = normalize
        deepest = len(levels) - 1
        self.fusions = nn.ModuleList(
            Fusion(student, middle, teacher, deepest=level == deepest)
            for level, (student, teacher) in enumerate(levels)
        )

    @staticmethod
    def choose(student: Sequence[FeatureStage], teacher: Sequence[FeatureStage]) -> Pairs:
        """Pair all stages after the stem whose maps have the same size."""
        return common_maps(student, teacher)

    def forward(self, student_features: Sequence[Tensor], teacher_features: Sequence[Tensor]) -> Tensor:
        """Loss (scalar) of the features (B, C, H, W) of each stage."""
        pairs = [widened(*pair) for pair in zip(student_features, teacher_features, strict=True)]
        last_student, last_teacher = pairs[-1]
        pairs.append((_pooled(last_student), _pooled(last_teacher)))
        losses, residual = [], None
        with full_precision(last_student):
            for fusion, (student, teacher) in zip(reversed(self.fusions), reversed(pairs), strict=True):
                fused, residual = fusion(student, residual, teacher.shape[2:])
                target = _normalized_images(teacher) if self.normalize else teacher
                losses.append(hierarchical_context(fused, target))
        return torch.stack(losses).sum()


class Fusion(nn.Module):
    """Attention-based fusion of a stage with the residual of the deeper stages; the deepest stage has none.

    x = conv(student); y = the residual, resized to x; (a, b) = σ(conv[x, y]), two maps;
    residual = a·x + b·y; output = conv(residual), with as many channels as the teacher.
    """

    def __init__(self, student: int, middle: int, teacher: int, *, deepest: bool) -> None:
        super().__init__()
        self.enter = _normalized(nn.Conv2d(student, middle, 1, bias=False))
        self.leave = _normalized(nn.Conv2d(middle, teacher, 3, padding=1, bias=False))
        self.attend = None if deepest else nn.Conv2d(2 * middle, 2, 1)

    def forward(self, student: Tensor, residual: Tensor | None, size: torch.Size) -> tuple[Tensor, Tensor]:
        """Fuse (B, C_s, H, W) with the residual: output (B, C_t, *size), new residual (B, middle, *size)."""
        fused: Tensor = self.enter(student)
        if self.attend is not None:
            assert residual is not None
            deeper = F.interpolate(residual, fused.shape[2:], mode="nearest")
            share, deeper_share = self.attend(torch.cat([fused, deeper], dim=1)).sigmoid().split(1, dim=1)
            fused = share * fused + deeper_share * deeper
        fused = F.interpolate(fused, size, mode="nearest")
        return self.leave(fused), fused


def hierarchical_context(student_feature: Tensor, teacher_feature: Tensor) -> Tensor:
    """Difference of two maps and of their averages: Σ_l w_l · mean (pool_l(s) − pool_l(t))² / Σ_l w_l.

    w = 1 for the maps themselves, and 1/2, 1/4, 1/8 for their averages on grids of 4×4, 2×2 and 1×1. A grid
    that is not smaller than the map is left out, and w is not halved for it. The loss is zero if
    student = teacher.

    Args:
        student_feature, teacher_feature: (B, C, H, W).
    """
    student, teacher = widened(student_feature, teacher_feature)
    loss, weight, total = F.mse_loss(student, teacher), 1.0, 1.0
    for side in PYRAMID:
        if side < student.shape[2]:
            weight /= 2
            total += weight
            whole, target = (F.adaptive_avg_pool2d(feature, side) for feature in (student, teacher))
            loss = loss + weight * F.mse_loss(whole, target)
    return loss / total


def _pooled(feature: Tensor) -> Tensor:
    return feature.mean(dim=(2, 3), keepdim=True)


def _normalized_images(feature: Tensor) -> Tensor:
    """Scale (B, C, H, W) to a mean square of 1 in each image; an image of zeros stays zero."""
    root = feature.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
    return feature / root.clamp(min=torch.finfo(root.dtype).tiny)


def _normalized(convolution: nn.Conv2d) -> nn.Sequential:
    nn.init.kaiming_uniform_(convolution.weight, a=1)
    return nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels))
