"""Precision of training on this machine: bfloat16 if the hardware supports it, because it is then faster."""

from __future__ import annotations

import torch

from kdtool.machine.cpu import cpu_has_bfloat16
from kdtool.recipe.choices import Precision
from kdtool.recipe.settings import Recipe
from kdtool.train.together.processes import processes


def has_bfloat16(device: torch.device) -> bool:
    """True if `device` supports bfloat16 in hardware; emulated bfloat16 is slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type != "cpu" or cpu_has_bfloat16()  # Metal and other accelerators support it


def fastest_precision() -> Precision:
    """Return the faster precision for training on this machine."""
    return Precision.BFLOAT16 if has_bfloat16(processes().device) else Precision.FLOAT32


def with_precision(recipe: Recipe, like: Recipe | None = None) -> Recipe:
    """Fill in each precision that the recipe leaves open: from `like`, or the faster one on this machine."""
    chosen = {}
    for section in recipe.without_precision():
        precision = getattr(like, section).precision if like else fastest_precision()
        chosen[section] = getattr(recipe, section).model_copy(update={"precision": precision})
    return recipe.model_copy(update=chosen)
