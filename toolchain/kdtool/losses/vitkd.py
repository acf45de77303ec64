"""Yang, Li, Zeng, Li, Yuan, Li (2024): ViTKD, feature knowledge distillation for ViTs, arXiv:2209.02432."""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdtool.core.featurestage import FeatureStage
from kdtool.losses.arguments import ArgumentError
from kdtool.losses.numerics import full_precision, require, widened
from kdtool.losses.stages import Pairs, Shapes, require_patches


class ViTKD(nn.Module):
    """Mimicking + generation: α/B · Σ_shallow (W_l s_l − t_l)² + β/(λB) · Σ_masked (g(m(W s)) − t)².

    Mimicking (shallow stages): a linear map W_l brings the student's patch tokens to the teacher's width.
    Generation (last stage): after a linear map W, a learnt token replaces a random share λ of the tokens of
    each image (m), and two 3×3 convolutions on the √N × √N grid (g) restore the teacher's tokens; only the
    masked tokens count. If both networks have the same width there are no linear maps, as in the authors'
    code.

    The loss is a sum over patches and channels and a mean over the images; therefore α and β are small.

    Args:
        student_shapes, teacher_shapes: (N, D) of each stage; all stages but the last are shallow.
        alpha: weight of mimicking.
        beta: weight of generation.
        mask_ratio: λ, between 0 and 1.

    Raises:
        UsageError: a parameter is out of its range, the stages are not patch tokens on the same square grid,
            or there are fewer than two stages.
    """

    EXAMPLE: ClassVar[Shapes] = ((4, 2), (4, 2), (4, 2))

    def __init__(
        self,
        student_shapes: Shapes,
        teacher_shapes: Shapes,
        *,
        alpha: float = 3e-5,
        beta: float = 3e-6,
        mask_ratio: float = 0.5,
    ) -> None:
        super().__init__()
        require("alpha", alpha, alpha >= 0, "0 or more", example=3e-5)
        require("beta", beta, beta >= 0, "0 or more", example=3e-6)
        require("mask_ratio", mask_ratio, 0 < mask_ratio < 1, "between 0 and 1", example=0.5)
        require_patches(student_shapes, teacher_shapes)
        if len(student_shapes) < 2:
            raise ArgumentError(
                "student_stages",
                ": vitkd needs one or more shallow stages and a deep stage; "
                f"given: {len(student_shapes)}; allowed: 2 or more.",
                "Leave student_stages and teacher_stages empty: vitkd takes two blocks and the final norm.",
            )
        self.alpha, self.beta, self.mask_ratio = alpha, beta, mask_ratio
        *shallow, deep = (
            _linear(student[1], teacher[1])
            for student, teacher in zip(student_shapes, teacher_shapes, strict=True)
        )
        width = teacher_shapes[-1][1]
        self.align2 = nn.ModuleList(shallow)  # the names of the authors' weights
        self.align = deep
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.generation = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1)
        )

    @staticmethod
    def choose(student: Sequence[FeatureStage], teacher: Sequence[FeatureStage]) -> Pairs:
        """Pair the first two blocks and the final norm."""
        require_patches([stage.shape for stage in student], [stage.shape for stage in teacher])
        return [(student[place], teacher[place]) for place in (0, 1, -1)]

    def forward(
        self,
        student_features: Sequence[Tensor],
        teacher_features: Sequence[Tensor],
        noise: Tensor | None = None,
    ) -> Tensor:
        """Loss (scalar) of the features (B, N, D) of each stage.

        Args:
            noise: (B, N); the tokens with the largest noise are masked. Default: drawn by torch.
        """
        pairs = [widened(*pair) for pair in zip(student_features, teacher_features, strict=True)]
        *shallow, (student, teacher) = pairs
        if noise is None:
            noise = torch.rand(student.shape[:2], device=student.device)
        with full_precision(student):
            mimicking = sum(
                F.mse_loss(align(tokens), target, reduction="sum")
                for align, (tokens, target) in zip(self.align2, shallow, strict=True)
            )
            generation = self._generation(self.align(student), teacher, noise)
        return (self.alpha * mimicking + self.beta / self.mask_ratio * generation) / len(student)

    def _generation(self, student: Tensor, teacher: Tensor, noise: Tensor) -> Tensor:
        images, patches, width = student.shape
        side = isqrt(patches)
        masked = _largest(noise, patches - int(patches * (1 - self.mask_ratio)))[..., None]
        tokens = torch.where(masked, self.mask_token, student)
        grid = tokens.transpose(1, 2).reshape(images, width, side, side)
        restored = self.generation(grid).flatten(2).transpose(1, 2)
        difference: Tensor = masked * (restored - teacher)
        return difference.square().sum()


def _largest(noise: Tensor, count: int) -> Tensor:
    """Mark the `count` largest entries of each row: (B, N) → (B, N) bool."""
    return noise.argsort(dim=1).argsort(dim=1) >= noise.shape[1] - count


def _linear(student: int, teacher: int) -> nn.Module:
    return nn.Identity() if student == teacher else nn.Linear(student, teacher)
