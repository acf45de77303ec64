"""The tiny networks of tests on distillation, and settings of a student."""

from __future__ import annotations

from typing import Any

import torch

from kdtool.recipe.settings import StudentSettings

CNN, VIT = "timm/test_resnet", "timm/test_vit"
CPU = torch.device("cpu")
AUGMENT = {"crop": 0.5, "flip": True, "randaugment": 1, "mixup": 0.4, "cutmix": 1.0}


def student(**fields: Any) -> StudentSettings:
    given = {"arch": CNN, "epochs": 2, "patience": 0, "lr": 1e-2, "batch_size": 16, **fields}
    return StudentSettings.model_validate(given)


def features(name: str, **fields: Any) -> dict[str, Any]:
    return {"loss": {"weight": 0.0, "ce_weight": 1.0}, "features": {"name": name, **fields}}
