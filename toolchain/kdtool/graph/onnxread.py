"""Reading an ONNX file that the guard let pass, with the package onnx.

The guard judges what a file holds, not whether its graph makes sense. Where it does not, protobuf and
shape inference raise errors of their own, and code that walks the graph meets tensors that are not there.
Here all of them become the one error of a broken file.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import shape_inference

from kdtool.core.errors import ModelFileError
from kdtool.core.text import cause_of

BROKEN = (
    DecodeError,
    onnx.checker.ValidationError,
    shape_inference.InferenceError,
    LookupError,  # an input or output that is not there
    ValueError,
    TypeError,
    RuntimeError,
)


@contextlib.contextmanager
def whole(name: Path | str) -> Iterator[None]:
    """Around code that takes the graph of the file `name` for whole.

    Raises:
        ModelFileError: it is not.
    """
    try:
        yield
    except BROKEN as error:
        raise ModelFileError(
            f"{name}: its graph is broken ({type(error).__name__}: {cause_of(error)}).",
            "Copy it again, or export it again with: kdtool export --onnx",
        ) from error


def parsed(content: bytes, name: Path | str) -> onnx.ModelProto:
    """The model in the bytes of a file that the guard let pass.

    Raises:
        ModelFileError: protobuf cannot read it.
    """
    with whole(name):
        return onnx.load_model_from_string(content)


def inferred(model: onnx.ModelProto, name: Path | str, values: bool = False) -> onnx.GraphProto:
    """The graph with the types and shapes that inference finds.

    Args:
        values: also by way of the values of small integer tensors, such as shapes.

    Raises:
        ModelFileError: the graph makes no sense.
    """
    with whole(name):
        return shape_inference.infer_shapes(model, data_prop=values).graph
