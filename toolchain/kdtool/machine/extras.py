"""Whether the training extra is installed, found out before any work is done."""

from __future__ import annotations

from importlib.util import find_spec

from kdtool.core.errors import missing_extra

TRAINING = (
    "torch",
    "torchvision",
    "timm",
    "accelerate",
    "safetensors",
    "matplotlib",
    "onnx",
    "onnxscript",
    "onnxsim",
    "thop",
)


def require_training(command: str) -> None:
    """Raise SetupError naming the extra if a package that training or export needs is missing."""
    for package in TRAINING:
        if find_spec(package) is None:
            raise missing_extra(package, f"kdtool {command}")
