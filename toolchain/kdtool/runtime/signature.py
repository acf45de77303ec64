"""The signature of a model file: what it declares of its input and outputs, and the tensor it is given.

A classifier has one input, which says by its type and its static sides what it wants:

    float32    normalized images, as the preprocessing says
    uint8      the pixels, 0 … 255; what normalizes them is inside

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

Tensor = npt.NDArray[Any]  # float32 or uint8, as a file wants it
Shape = tuple[int | None, ...]
FLOAT, PIXELS = "float32", "uint8"
NCHW, NHWC = "NCHW", "NHWC"
LOGITS = "logits"


@dataclass(frozen=True)
class TensorSpec:
    """An input or an output; None in `shape` where a side is free."""

    name: str
    type: str
    shape: Shape

    def __str__(self) -> str:
        sides = ", ".join("?" if side is None else str(side) for side in self.shape)
        return f"{self.name} {self.type} ({sides})"


@dataclass(frozen=True)
class InputFormat:
    """How a file wants its images: `type` is float32 or uint8, `layout` NCHW or NHWC."""

    type: str = FLOAT
    layout: str = NCHW

    def tensor(self, pixels: UInt8Array, preprocess: Preprocess) -> Tensor:
        """(N, H, W, 3) uint8, resized and cropped → what the file is given."""
        if self.type == PIXELS:
            return pixels if self.layout == NHWC else np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
        images = preprocess.normalize(pixels)
        return images if self.layout == NCHW else np.ascontiguousarray(images.transpose(0, 2, 3, 1))

    def noise(self, height: int, width: int, seed: int) -> Tensor:
        """One image without a meaning, uniform over [0, 1) or over all pixels."""
        shape = (1, 3, height, width) if self.layout == NCHW else (1, height, width, 3)
        random = np.random.default_rng(seed)
        if self.type == PIXELS:
            return random.integers(0, 256, shape, np.uint8)
        return random.random(shape, np.float32)


def layout_of(shape: Sequence[int | None]) -> str | None:
    """By where the three channels stand; None where they stand nowhere. With all sides free it is NCHW."""
    if shape[1] == 3:
        return NCHW
    if shape[3] == 3:
        return NHWC
    return NCHW if shape[1] is None else None


def image_input(path: Path, inputs: Sequence[TensorSpec]) -> tuple[InputFormat, Shape]:
    """The format of the one input, and its sides in the order (N, 3, H, W).

    Raises:
        ModelFileError: it has another number of inputs, or one that takes no images.
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
        f"{path}: its inputs are {_listed(inputs)}; allowed is one, float32 or uint8, "
        "(N, 3, H, W) or (N, H, W, 3), with N free or 1.",
        "Name an image classifier, such as one made by: kdtool export --onnx",
    )


def logits_output(path: Path, outputs: Sequence[TensorSpec], info: ModelInfo | None) -> int:
    """Which output is the logits: the one of that name, the only one, or the only one of shape (N, classes).

    Args:
        info: what the file says of itself, the number of its classes included.

    Raises:
        ModelFileError: none of them, or several.
    """
    names = [output.name for output in outputs]
    if LOGITS in names:
        return names.index(LOGITS)
    if len(outputs) == 1:
        return 0
    classes = (None, len(info.classes)) if info is not None else None
    rows = [
        index
        for index, spec in enumerate(outputs)
        if spec.type == FLOAT and len(spec.shape) == 2 and (classes is None or spec.shape[1] in classes)
    ]
    if len(rows) == 1:
        return rows[0]
    raise ModelFileError(
        f"{path}: its outputs are {_listed(outputs)}; allowed is one, or one called {LOGITS!r}, or several "
        "of which exactly one is float32 of shape (N, classes).",
        f"Export it with a single output, or call the one with the logits {LOGITS!r}.",
    )


def _listed(specs: Sequence[TensorSpec]) -> str:
    return ", ".join(map(str, specs)) or "none"
