"""What every runtime opens a model as."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from kdtool.core.errors import ModelFileError
from kdtool.core.modelinfo import ModelInfo
from kdtool.core.preprocess import FloatArray
from kdtool.runtime.signature import InputFormat, Shape, Tensor


class Session(Protocol):
    """A classifier, loaded and ready.

    Attributes:
        path: the file it came from.
        info: what the file says of itself; None where it is not kdtool's.
        input_shape: (N, 3, H, W), whatever the file's layout; None where a side is free.
        threads: in use within an operator.
        input_format: how it wants its images, which it makes of pixels.
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
        """Logits (N, K), float32, of N images in `input_format`: float32 (N, 3, H, W), normalized, where the
        file says nothing else.

        Raises:
            ModelFileError: the model fails on them; names the file and the cause.
        """

    def close(self) -> None:
        """Free the memory; the session cannot be used afterwards."""


def input_size(session: Session) -> int:
    """Side of the square input, pixels: fixed in the file, else as its preprocessing says; 0 if unknown."""
    height, width = session.input_shape[2:]
    if height is not None and height == width:
        return height
    return session.info.preprocess.size if session.info is not None else 0


def require_logits(path: Path, logits: npt.NDArray[Any], images: int) -> FloatArray:
    """What the file `path` answers to N images, where it is float32 (N, K).

    Raises:
        ModelFileError: it is something else.
    """
    if logits.ndim != 2 or len(logits) != images or logits.dtype != np.float32:
        raise ModelFileError(
            f"{path}: answered {logits.dtype} of shape {logits.shape} to {images} image(s); "
            "a classifier answers float32 (N, classes).",
            "Name a model whose output is one row of logits an image.",
        )
    return logits
