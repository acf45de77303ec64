"""Running any file of a bundle: float32 or 8-bit input, ONNX or ONNX Runtime's own format."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kdtool.core.errors import ModelFileError
from kdtool.core.preprocess import FloatArray, Preprocess, UInt8Array
from kdtool.machine.threads import usable_threads
from kdtool.runtime.onnxbytes.guard import ORT_MARK, read_model
from kdtool.runtime.onnxruntime import TYPES, answer, load
from kdtool.runtime.ports import InputForm, Tensor, layout_of

AGAIN = "Make the bundle again with: kdtool bundle"


@dataclass(frozen=True)
class Input:
    """The one input of a classifier; `shape` has −1 where a side is free."""

    name: str
    type: str
    layout: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class ShippedSession:
    """A loaded file of a bundle."""

    path: Path
    input: Input
    output: str
    _session: Any

    def logits(self, pixels: UInt8Array, preprocess: Preprocess) -> FloatArray:
        """(H, W, 3) uint8, resized and cropped → (K,) float32."""
        return self.run(self.tensor(pixels, preprocess))

    def tensor(self, pixels: UInt8Array, preprocess: Preprocess) -> Tensor:
        """The input of one image as this file wants it."""
        return InputForm(self.input.type, self.input.layout).tensor(pixels[None], preprocess)

    def run(self, tensor: Tensor) -> FloatArray:
        """The logits (K,) of one image's input tensor.

        Raises:
            ModelFileError: the model fails on it, or answers something else than one row of finite floats.
        """
        (row,) = answer(self._session, self.path, (self.input.name, self.output), tensor)
        if not np.isfinite(row).all():
            raise ModelFileError(f"{self.path}: answered logits that are no numbers to an image.", AGAIN)
        result: FloatArray = row
        return result


def open_shipped(path: Path) -> ShippedSession:
    """Load a file of a bundle.

    Raises:
        ModelFileError: it is not there, broken or hostile, or no image classifier.
    """
    content = read_model(path) if path.suffix == ".onnx" else _bytes(path)
    session = load(content, path, usable_threads(), "Copy the bundle again, or make it with: kdtool bundle")
    inputs, outputs = session.get_inputs(), session.get_outputs()
    given = ", ".join(f"{node.name} {node.type} {node.shape}" for node in inputs)
    if len(inputs) == 1 and len(outputs) == 1 and inputs[0].type in TYPES and len(inputs[0].shape) == 4:
        shape = tuple(side if isinstance(side, int) else -1 for side in inputs[0].shape)
        layout = layout_of(shape)
        if layout is not None:
            node = Input(str(inputs[0].name), TYPES[inputs[0].type], layout, shape)
            return ShippedSession(path, node, str(outputs[0].name), session)
    raise ModelFileError(
        f"{path}: its inputs are {given}; allowed is one of (N, 3, H, W) or (N, H, W, 3).",
        AGAIN,
    )


def _bytes(path: Path) -> bytes:
    """Of a file in ONNX Runtime's own format. The runtime goes by its mark, and would open ONNX of any name
    that nobody has judged."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelFileError(
            f"{path}: cannot be read ({error.strerror or error}).", "Copy the whole bundle again."
        ) from error
    if content[4:8] != ORT_MARK:
        raise ModelFileError(
            f"{path}: not a file in ONNX Runtime's own format, whatever its name says.",
            "Copy the whole bundle again, or make it again with: kdtool bundle",
        )
    return content
