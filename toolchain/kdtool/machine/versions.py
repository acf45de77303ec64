"""Versions of installed packages, read without importing them."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

DEVICE = ("numpy", "onnxruntime", "pillow", "pydantic")
TRAIN = ("torch", "torchvision", "timm", "accelerate", "onnx", "onnxscript", "onnxsim", "thop")


def versions_of(packages: Iterable[str] = (*DEVICE, *TRAIN)) -> dict[str, str]:
    """Python and those of `packages` that are installed, with their versions."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
