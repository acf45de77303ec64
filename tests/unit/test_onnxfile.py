"""What stands in an ONNX file we write."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper

from kdtool.core.modelinfo import ModelInfo
from kdtool.core.preprocess import Preprocess
from kdtool.graph.onnxfile import onnx_bytes

INFO = ModelInfo("teacher", "resnet18", ("größe", "<b>"), Preprocess(8, 8))
SECRET = "/home/someone/project/net.py"


def leaky_graph(name: str, body: onnx.GraphProto | None = None) -> onnx.GraphProto:
    node = helper.make_node("Relu", ["x"], ["y"])
    if body is not None:
        node = helper.make_node("If", ["c"], ["y"], then_branch=body, else_branch=body)
    node.doc_string = SECRET
    node.metadata_props.add(key="stack_trace", value=SECRET)
    value = helper.make_tensor_value_info("y", TensorProto.FLOAT, (1,), doc_string=SECRET)
    graph = helper.make_graph([node], name, [], [value], doc_string=SECRET)
    graph.metadata_props.add(key="path", value=SECRET)
    return graph


def test_notes_and_paths_are_gone_from_every_depth_and_the_record_stays() -> None:
    model = helper.make_model(leaky_graph("outer", leaky_graph("inner")), doc_string=SECRET)
    model.opset_import[0].version = 18
    model.producer_version = SECRET
    model.metadata_props.add(key="anything", value=SECRET)
    assert model.SerializeToString().count(SECRET.encode()) > 10

    payload = onnx_bytes(model, INFO)

    assert SECRET.encode() not in payload
    read = onnx.load_model_from_string(payload)
    assert {p.key: p.value for p in read.metadata_props} == INFO.to_metadata()
    assert read.ir_version == 8  # that of operator set 18
    assert [node.op_type for node in read.graph.node] == ["If"]


def test_equal_models_give_equal_bytes() -> None:
    one, two = (onnx_bytes(helper.make_model(leaky_graph("g")), INFO) for _ in range(2))
    assert one == two
