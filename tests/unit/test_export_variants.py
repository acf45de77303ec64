"""The further forms of an export, on a network small enough to be written as a graph by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from kdtool.core.errors import GateError, ModelFileError
from kdtool.core.modelinfo import ModelInfo
from kdtool.core.preprocess import Preprocess
from kdtool.exporters.onnx import convert_opset
from kdtool.exporters.parity import parity_images
from kdtool.exporters.passes.fixed_batch import fix_batch
from kdtool.exporters.passes.uint8 import pixels_of, with_pixels
from kdtool.exporters.variants import VARIANTS, Exported
from kdtool.graph.onnxfile import onnx_bytes
from kdtool.recipe.settings import ExportSettings
from kdtool.runtime.onnxruntime import open_model

SIZE = 8
PREPROCESS = Preprocess(SIZE, SIZE, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
PIXELS = np.random.default_rng(0).integers(0, 256, (12, SIZE, SIZE, 3), dtype=np.uint8)
INFO = ModelInfo("student", "resnet18", ("a", "b", "c"), PREPROCESS)


def network_of() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    ).eval()


def graph_of(network: nn.Module, mean: bool = False) -> onnx.ModelProto:
    """The network as ONNX; with `mean`, its pool as the ReduceMean of opset 18."""
    state = {name: value.numpy() for name, value in network.state_dict().items()}
    pool = helper.make_node("GlobalAveragePool", ["r"], ["p"], name="pool")
    if mean:
        pool = helper.make_node("ReduceMean", ["r", "axes"], ["p"], name="pool")
        state["axes"] = np.array([2, 3], np.int64)
    nodes = [
        helper.make_node("Conv", ["images", "0.weight", "0.bias"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        pool,
        helper.make_node("Flatten", ["p"], ["f"], name="flatten"),
        helper.make_node("Gemm", ["f", "4.weight", "4.bias"], ["logits"], name="head", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(value, name) for name, value in state.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])


def exported(folder: Path, fixed: bool = False) -> Exported:
    network = network_of()
    model = graph_of(network)
    if fixed:
        fix_batch(model)
    path = folder / "student.onnx"
    path.write_bytes(onnx_bytes(model, INFO))
    return Exported(network, path, INFO, parity_images(PIXELS, PREPROCESS), 1e-5)


def test_pixels_survive_normalization_and_back() -> None:
    every = np.arange(256, dtype=np.uint8).repeat(3 * 3).reshape(-1, 1, 3, 3)
    np.testing.assert_array_equal(pixels_of(PREPROCESS.normalize(every), PREPROCESS), every)


@pytest.mark.parametrize("fixed", [False, True])
def test_the_uint8_model_normalizes_as_we_do(tmp_path: Path, fixed: bool) -> None:
    given = exported(tmp_path, fixed)
    files, parity = VARIANTS["uint8"].write(given)

    assert [file.name for file in files] == ["student.uint8.onnx"]
    assert [p.batch for p in parity] == [1, 2, 7]
    session = onnxruntime.InferenceSession(files[0].read_bytes(), providers=["CPUExecutionProvider"])
    (input_,) = session.get_inputs()
    assert (input_.name, input_.type) == ("images", "tensor(uint8)")
    assert input_.shape == [1 if fixed else "batch", SIZE, SIZE, 3]
    expected = open_model(given.path).run(PREPROCESS.normalize(PIXELS[:1]))
    np.testing.assert_array_equal(session.run(None, {"images": PIXELS[:1]})[0], expected)
    info = ModelInfo.from_metadata(dict(session.get_modelmeta().custom_metadata_map), files[0])
    assert info is not None
    assert info.notes["input"].startswith("uint8 (N, S, S, 3)")


def test_the_ort_file_answers_alike_and_names_its_operators(tmp_path: Path) -> None:
    files, parity = VARIANTS["ort"].write(exported(tmp_path))

    assert [file.name for file in files] == ["student.ort", "student.required_operators.config"]
    assert max(p.difference for p in parity) <= 1e-5
    config = files[1].read_text()
    assert config.startswith("# Generated from student.ort\n")
    assert "Flatten" in config or "Gemm" in config
    assert str(tmp_path) not in config
    assert str(tmp_path).encode() not in files[0].read_bytes()
    assert files[0].read_bytes()[4:8] == b"ORTM"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["student.onnx", *(file.name for file in files)]
    )


@pytest.mark.parametrize("kind", VARIANTS)
def test_a_variant_names_the_ends_of_all_its_files_and_has_a_switch(tmp_path: Path, kind: str) -> None:
    files, _ = VARIANTS[kind].write(exported(tmp_path))
    assert [file.name for file in files] == [f"student{suffix}" for suffix in VARIANTS[kind].suffixes]
    assert kind in ExportSettings.model_fields


@pytest.mark.parametrize("kind", VARIANTS)
def test_a_wrong_variant_stops_at_its_gate_and_leaves_nothing(tmp_path: Path, kind: str) -> None:
    given = exported(tmp_path)
    with torch.no_grad():
        given.network.get_submodule("4").get_parameter("bias").add_(0.1)
    with pytest.raises(GateError, match=r"for a batch of 1, max \|Δlogit\|") as caught:
        VARIANTS[kind].write(given)
    assert caught.value.exit_code == 6
    assert [path.name for path in tmp_path.iterdir()] == ["student.onnx"]


def test_what_ort_cannot_convert_is_an_error_in_words(tmp_path: Path) -> None:
    given = exported(tmp_path)
    model = onnx.load(given.path)
    model.graph.node[0].input[0] = "nothing"
    given.path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelFileError, match=r"student\.ort: ONNX Runtime cannot write it"):
        VARIANTS["ort"].write(given)
    assert [path.name for path in tmp_path.iterdir()] == ["student.onnx"]


def test_a_fixed_batch_is_fixed_everywhere(tmp_path: Path) -> None:
    session = open_model(exported(tmp_path, fixed=True).path)
    assert session.input_shape == (1, 3, SIZE, SIZE)
    assert session.run(PREPROCESS.normalize(PIXELS[:3])).shape == (3, 3)


def test_an_older_operator_set_computes_the_same(tmp_path: Path) -> None:
    network = network_of()
    older = convert_opset(graph_of(network, mean=True), "tiny", 17)
    path = tmp_path / "student.onnx"
    path.write_bytes(onnx_bytes(older, INFO))

    model = onnx.load(path)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 17)]
    assert model.ir_version <= 9
    images = PREPROCESS.normalize(PIXELS)
    with torch.inference_mode():
        expected = network(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(open_model(path).run(images), expected, atol=1e-5)


def test_an_operator_without_an_older_form_is_an_error() -> None:
    model = graph_of(network_of())
    model.graph.node[1].op_type = "Mish"  # of opset 18
    with pytest.raises(ModelFileError, match="tiny cannot be written with opset 17"):
        convert_opset(model, "tiny", 17)


def test_the_given_model_is_left_as_it_is() -> None:
    model = graph_of(network_of())
    before = model.SerializeToString()
    with_pixels(model, PREPROCESS)
    assert model.SerializeToString() == before
