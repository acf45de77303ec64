"""What protobuf and shape inference say of a broken graph comes out as an error of the file."""

from __future__ import annotations

from pathlib import Path

import pytest
from onnx import ModelProto, TensorProto, helper

from kdtool.core.errors import GateError, ModelFileError
from kdtool.graph.onnxread import graph_errors, infer_shapes, parse_model
from kdtool.quant.observe import activations

CUT_FLOATS = b"\x3a\x0b\x2a\x09\x08\x01\x10\x01\x22\x03abc"  # a graph with a tensor of three bytes of floats


def senseless() -> ModelProto:
    """A convolution of nothing, which the guard has no reason to refuse."""
    graph = helper.make_graph(
        [helper.make_node("Conv", [], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, 4, 4))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])


def test_bytes_that_protobuf_cannot_read() -> None:
    with pytest.raises(ModelFileError, match=r"m\.onnx: its graph is broken \(DecodeError") as caught:
        parse_model(CUT_FLOATS, "m.onnx")
    assert "kdtool export --onnx" in caught.value.hint


def test_a_graph_without_sense() -> None:
    with pytest.raises(ModelFileError, match=r"m\.onnx: its graph is broken \(InferenceError"):
        infer_shapes(senseless(), Path("m.onnx"))


@pytest.mark.parametrize("kind", [IndexError, KeyError, TypeError, ValueError, RuntimeError])
def test_code_that_takes_a_broken_graph_for_whole(kind: type[Exception]) -> None:
    with pytest.raises(ModelFileError, match=f"{kind.__name__}: .*nowhere"), graph_errors("m.onnx"):
        raise kind("nowhere")


def test_an_error_of_our_own_stays_what_it_is() -> None:
    with pytest.raises(GateError, match="its own"), graph_errors("m.onnx"):
        raise GateError("its own")


def test_what_is_watched_of_a_graph_without_sense() -> None:
    with pytest.raises(ModelFileError, match=r"m\.onnx: its graph is broken"):
        activations(senseless(), Path("m.onnx"))
