"""Whether training in bfloat16 is faster here: where it has to be imitated it is slower."""

from __future__ import annotations

import torch

from kdtool.core.cpu import cpu_has_bfloat16


def has_bfloat16(device: torch.device) -> bool:
    """Whether `device` computes in bfloat16."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type != "cpu" or cpu_has_bfloat16()  # Metal and others take it
