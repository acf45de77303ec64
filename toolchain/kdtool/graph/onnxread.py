"""Reading of ONNX files with the package onnx, after the guard has accepted them.

The guard (`runtime.onnxbytes`) checks the content of a file, not that its graph is consistent. For an
inconsistent graph, protobuf and shape inference raise errors of their own classes, and code that walks the
graph finds no tensor for a name. This module turns all these errors into ModelFileError.
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
    LookupError,  # an input or output does not exist
    ValueError,
    TypeError,
    RuntimeError,
)


@contextlib.contextmanager
def graph_errors(name: Path | str) -> Iterator[None]:
    """Turn errors that an inconsistent graph causes in a block into ModelFileError.

    Args:
        name: name of the file for the message.

    Raises:
        ModelFileError: the graph is broken.
    """
    try:
        yield
    except BROKEN as error:
        raise ModelFileError(
            f"{name}: its graph is broken ({type(error).__name__}: {cause_of(error)}).",
            "Copy it again, or export it again with: kdtool export --onnx",
        ) from error


def parse_model(content: bytes, name: Path | str) -> onnx.ModelProto:
    """Parse the bytes of a file that the guard has accepted.

    Raises:
        ModelFileError: protobuf cannot read the bytes.
    """
    with graph_errors(name):
        return onnx.load_model_from_string(content)


def fed_inputs(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """Inputs that a caller feeds: files of old exporters list their initializers among the inputs too."""
    stored = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in stored]


def infer_shapes(model: onnx.ModelProto, name: Path | str, values: bool = False) -> onnx.GraphProto:
    """Return the graph with inferred types and shapes.

    Args:
        values: use the values of small integer tensors, such as shapes, as well.

    Raises:
        ModelFileError: the graph is inconsistent.
    """
    with graph_errors(name):
        return shape_inference.infer_shapes(model, data_prop=values).graph
