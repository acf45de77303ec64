"""Interface of a loaded model, the same for all runtimes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from kdtool.core.errors import ModelFileError
from kdtool.core.modelinfo import ModelInfo
from kdtool.core.preprocess import FloatArray
from kdtool.runtime.signature import InputFormat, Shape, Tensor


class Session(Protocol):
    """Image classifier, loaded and ready to run.

    Attributes:
        path: file of the model.
        info: record of classes and preprocessing in the file; None if kdtool did not write one.
        input_shape: (N, 3, H, W) for both layouts; None is a free side.
        threads: number of threads within an operator.
        input_format: type and layout of the input tensor; converts pixels to it.
    """

    @property
    def path(self) -> Path: ...

    @property
    def info(self) -> ModelInfo | None: ...

    @property
    def input_shape(self) -> Shape: ...

    @property
    def threads(self) -> int: ...

    @property
    def input_format(self) -> InputFormat: ...

    def run(self, images: Tensor) -> FloatArray:
        """Logits (N, K) float32 of N images.

        Args:
            images: tensor in `input_format`, usually float32 (N, 3, H, W), normalized.

        Raises:
            ModelFileError: the model fails on the images; the message names the file and the cause.
        """

    def close(self) -> None:
        """Free the memory; the session cannot be used afterwards."""


def input_size(session: Session) -> int:
    """Side of the square input in pixels: fixed in the file, otherwise by its preprocessing; 0 if unknown."""
    height, width = session.input_shape[2:]
    if height is not None and height == width:
        return height
    return session.info.preprocess.size if session.info is not None else 0


def require_logits(path: Path, logits: npt.NDArray[Any], images: int) -> FloatArray:
    """Return the output of the file `path` for N images, if it is float32 (N, K), also as (N, K, 1, 1).

    Raises:
        ModelFileError: the output has another type or shape.
    """
    if logits.ndim > 2 and logits.size == math.prod(logits.shape[:2]):
        logits = logits.reshape(logits.shape[:2])
    if logits.ndim != 2 or logits.shape[1] < 1 or len(logits) != images or logits.dtype != np.float32:
        raise ModelFileError(
            f"{path}: gave {logits.dtype} of shape {logits.shape} for {images} image(s); "
            "a classifier gives float32 (N, classes).",
            "Name a model whose output is one row of logits per image.",
        )
    return logits
