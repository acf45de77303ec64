"""Signature of a model file: its declared input and outputs, and the tensor to feed.

A classifier has one input. Its type and its fixed sides say which tensor it needs:

    float32    normalized images, as the preprocessing says
    uint8      pixels, 0 … 255; the model normalizes them

    (N, 3, H, W) or (N, H, W, 3)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kdtool.core.errors import ModelFileError
from kdtool.core.modelinfo import ModelInfo
from kdtool.core.preprocess import Preprocess, UInt8Array

Tensor = npt.NDArray[Any]  # float32 or uint8, by the input of the file
Shape = tuple[int | None, ...]
FLOAT, PIXELS = "float32", "uint8"
NCHW, NHWC = "NCHW", "NHWC"
LOGITS = "logits"


@dataclass(frozen=True)
class TensorSpec:
    """Declared input or output of a model file; None in `shape` is a free side."""

    name: str
    type: str
    shape: Shape

    def __str__(self) -> str:
        sides = ", ".join("?" if side is None else str(side) for side in self.shape)
        return f"{self.name} {self.type} ({sides})"


@dataclass(frozen=True)
class InputFormat:
    """Format of an input tensor: `type` is float32 or uint8, `layout` is NCHW or NHWC."""

    type: str = FLOAT
    layout: str = NCHW

    def tensor(self, pixels: UInt8Array, preprocess: Preprocess) -> Tensor:
        """Convert pixels (N, H, W, 3) uint8, resized and cropped, to the input tensor."""
        if self.type == PIXELS:
            return pixels if self.layout == NHWC else np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
        images = preprocess.normalize(pixels)
        return images if self.layout == NCHW else np.ascontiguousarray(images.transpose(0, 2, 3, 1))

    def noise(self, height: int, width: int, seed: int) -> Tensor:
        """Input tensor of one random image, uniform over [0, 1) or over 0 … 255."""
        shape = (1, 3, height, width) if self.layout == NCHW else (1, height, width, 3)
        random = np.random.default_rng(seed)
        if self.type == PIXELS:
            return random.integers(0, 256, shape, np.uint8)
        return random.random(shape, np.float32)


def layout_of(shape: Sequence[int | None]) -> str | None:
    """Layout by the side of length 3; NCHW if the sides are free, None if no side can be the channels."""
    if shape[1] == 3:
        return NCHW
    if shape[3] == 3:
        return NHWC
    return NCHW if shape[1] is None else None


def image_input(path: Path, inputs: Sequence[TensorSpec]) -> tuple[InputFormat, Shape]:
    """Format of the single input, and its shape in the order (N, 3, H, W).

    Raises:
        ModelFileError: the file has several inputs or none, or its input takes no images.
    """
    if len(inputs) == 1 and inputs[0].type in (FLOAT, PIXELS) and len(inputs[0].shape) == 4:
        shape = inputs[0].shape
        layout = layout_of(shape)
        if layout is not None and shape[0] in (None, 1):
            return (
                InputFormat(inputs[0].type, layout),
                shape if layout == NCHW else (shape[0], 3, *shape[1:3]),
            )
    raise ModelFileError(
        f"{path}: its inputs are {_listed(inputs)}; allowed is one input, float32 or uint8, of shape "
        "(N, 3, H, W) or (N, H, W, 3), where N is free or 1.",
        "Name an image classifier, such as one made by: kdtool export --onnx",
    )


def logits_output(path: Path, outputs: Sequence[TensorSpec], info: ModelInfo | None) -> int:
    """Index of the output with the logits.

    It is the output of that name, otherwise the only output, otherwise the only one of shape (N, classes), or
    the only one of shape (N, classes, 1, 1).

    Args:
        info: record in the file, with the number of classes; None if the file has none.

    Raises:
        ModelFileError: no output can be the logits, or several can.
    """
    names = [output.name for output in outputs]
    if LOGITS in names:
        return names.index(LOGITS)
    if len(outputs) == 1:
        return 0
    classes = (None, len(info.classes)) if info is not None else None
    for further in ((), (1, 1)):  # sides after (N, classes)
        rows = [
            index
            for index, spec in enumerate(outputs)
            if spec.type == FLOAT and len(spec.shape) >= 2 and spec.shape[2:] == further
            if classes is None or spec.shape[1] in classes
        ]
        if len(rows) == 1:
            return rows[0]
    raise ModelFileError(
        f"{path}: its outputs are {_listed(outputs)}; allowed is a single output, or one called {LOGITS!r}, "
        "or several of which exactly one is float32 of shape (N, classes).",
        f"Export it with a single output, or name the output with the logits {LOGITS!r}.",
    )


def _listed(specs: Sequence[TensorSpec]) -> str:
    return ", ".join(map(str, specs)) or "none"
