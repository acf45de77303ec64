"""Means over height and width become global average pools, other means stay, the answers stay the same."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from kdtool.exporters.passes.pooling import use_global_average_pool

SHAPE = ("batch", 3, 4, 5)


def mean_model(axes: list[int], keepdims: int, shape: tuple[str | int, ...] = SHAPE) -> onnx.ModelProto:
    node = helper.make_node("ReduceMean", ["x", "axes"], ["y"], name="mean", keepdims=keepdims)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.array(axes, np.int64), "axes")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def answer(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("axes", [[2, 3], [-1, -2], [-2, 3]])
def test_a_spatial_mean_becomes_a_global_pool_with_the_same_answer(axes: list[int], keepdims: int) -> None:
    model = mean_model(axes, keepdims)
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 5)).astype(np.float32)
    before = answer(model, x)

    assert use_global_average_pool(model) == 1

    operators = [node.op_type for node in model.graph.node]
    assert operators == (["GlobalAveragePool"] if keepdims else ["GlobalAveragePool", "Flatten"])
    assert not model.graph.initializer
    after = answer(model, x)
    assert after.shape == before.shape
    np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("axes", "shape"), [([1, 2], SHAPE), ([3], SHAPE), ([1, 2, 3], SHAPE), ([1], ("batch", 3, 4))]
)
def test_every_other_mean_stays(axes: list[int], shape: tuple[str | int, ...]) -> None:
    model = mean_model(axes, 1, shape)
    before = model.SerializeToString()

    assert use_global_average_pool(model) == 0
    assert model.SerializeToString() == before


def test_a_mean_whose_axes_are_not_constant_stays() -> None:
    model = mean_model([2, 3], 1)
    del model.graph.initializer[:]
    model.graph.input.append(helper.make_tensor_value_info("axes", TensorProto.INT64, (2,)))

    assert use_global_average_pool(model) == 0


def test_a_pool_between_other_nodes_keeps_the_order() -> None:
    model = mean_model([2, 3], 0)
    model.graph.node[0].input[0] = "r"
    model.graph.node.insert(0, helper.make_node("Relu", ["x"], ["r"]))
    model.graph.node[1].output[0] = "m"
    model.graph.node.append(helper.make_node("Neg", ["m"], ["y"]))

    assert use_global_average_pool(model) == 1
    assert [n.op_type for n in model.graph.node] == ["Relu", "GlobalAveragePool", "Flatten", "Neg"]
    assert answer(model, np.ones((1, 3, 4, 5), np.float32)).tolist() == [[-1, -1, -1]]
