"""What every runtime answers with."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from kdtool.core.modelinfo import ModelInfo
from kdtool.core.preprocess import FloatArray


class Session(Protocol):
    """A classifier, loaded and ready.

    Attributes:
        path: the file it came from.
        info: what the file says of itself; None where it is not kdtool's.
        input_shape: (N, 3, H, W); None where a side is free.
        threads: in use within an operator.
    """

    @property
    def path(self) -> Path: ...

    @property
    def info(self) -> ModelInfo | None: ...

    @property
    def input_shape(self) -> tuple[int | None, ...]: ...

    @property
    def threads(self) -> int: ...

    def run(self, images: FloatArray) -> FloatArray:
        """Logits (N, K) of normalized images (N, 3, H, W), both float32.

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
