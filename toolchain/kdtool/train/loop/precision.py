"""In which arithmetic networks train here: bfloat16 where the hardware has it, since it is faster there."""

from __future__ import annotations

import torch

from kdtool.machine.cpu import cpu_has_bfloat16
from kdtool.recipe.choices import Precision
from kdtool.recipe.settings import Recipe
from kdtool.train.together.processes import processes


def has_bfloat16(device: torch.device) -> bool:
    """Whether `device` computes in bfloat16; where it has to be imitated it is slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type != "cpu" or cpu_has_bfloat16()  # Metal and others take it


def precision_here() -> Precision:
    """The faster one."""
    return Precision.BFLOAT16 if has_bfloat16(processes().device) else Precision.FLOAT32


def with_precision(recipe: Recipe, like: Recipe | None = None) -> Recipe:
    """The recipe, its precision the one of `like`, or the faster one here, where it says nothing of it."""
    chosen = {}
    for section in recipe.without_precision():
        precision = getattr(like, section).precision if like else precision_here()
        chosen[section] = getattr(recipe, section).model_copy(update={"precision": precision})
    return recipe.model_copy(update=chosen)
