"""What every runtime answers with."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from kdtool.core.modelinfo import ModelInfo
from kdtool.core.preprocess import FloatArray
from kdtool.runtime.ports import InputForm, Tensor


class Session(Protocol):
    """A classifier, loaded and ready.

    Attributes:
        path: the file it came from.
        info: what the file says of itself; None where it is not kdtool's.
        input_shape: (N, 3, H, W), whatever the file's layout; None where a side is free.
        threads: in use within an operator.
        form: how it wants its images, which it makes of pixels.
    """

    @property
    def path(self) -> Path: ...

    @property
    def info(self) -> ModelInfo | None: ...

    @property
    def input_shape(self) -> tuple[int | None, ...]: ...

    @property
    def threads(self) -> int: ...

    @property
    def form(self) -> InputForm: ...

    def run(self, images: Tensor) -> FloatArray:
        """Logits (N, K), float32, of N images in the file's own form: float32 (N, 3, H, W), normalized, where
        it says nothing else.

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
