"""onnxsim's child: it may crash, hang or answer nonsense, and we say which."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from kdtool.core.modelinfo import ModelInfo
from kdtool.core.preprocess import Preprocess
from kdtool.exporters.passes.simplify import COMMAND, SimplifyError, simplify
from kdtool.graph.onnxfile import onnx_bytes

INFO = ModelInfo("teacher", "resnet18", ("a", "b"), Preprocess(8, 8))


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


@pytest.fixture
def payload() -> bytes:
    nodes = [
        helper.make_node("Identity", ["images"], ["i"]),
        helper.make_node("Add", ["one", "one"], ["two"]),
        helper.make_node("Mul", ["i", "two"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ("batch", 3))],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ("batch", 3))],
        [numpy_helper.from_array(np.ones(3, np.float32), "one")],
    )
    return onnx_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), INFO)


def test_the_real_child_simplifies_and_leaves_our_metadata_alone(
    payload: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "onnx.py").write_text("raise SystemExit('the current folder was imported')")
    monkeypatch.chdir(tmp_path)

    simplified = onnx.load_model_from_string(simplify(payload, INFO))

    assert [node.op_type for node in simplified.graph.node] == ["Mul"]
    assert {p.key: p.value for p in simplified.metadata_props} == INFO.to_metadata()
    assert [path.name for path in tmp_path.iterdir()] == ["onnx.py"]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import os; os.abort()", "signal 6"),
        ("import sys; sys.exit('no such operator')", "exit code 1: no such operator"),
        ("pass", "no valid model"),
        ("print('hello')", "no valid model"),
    ],
)
def test_a_child_that_fails_is_an_error_in_words(payload: bytes, code: str, message: str) -> None:
    with pytest.raises(SimplifyError, match=message):
        simplify(payload, INFO, command=python(code))


def test_a_child_that_hangs_is_ended(payload: bytes) -> None:
    with pytest.raises(SimplifyError, match=r"more than 0\.2 s"):
        simplify(payload, INFO, command=python("import time; time.sleep(60)"), timeout=0.2)


def test_a_child_that_cannot_be_started_is_an_error(payload: bytes, tmp_path: Path) -> None:
    with pytest.raises(SimplifyError, match="could not be started"):
        simplify(payload, INFO, command=[str(tmp_path / "nothing")])


def test_another_interface_is_refused(payload: bytes, tmp_path: Path) -> None:
    model = onnx.load_model_from_string(payload)
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 1
    frozen = tmp_path / "frozen.onnx"
    onnx.save(model, frozen)

    code = f"import sys; sys.stdout.buffer.write(open({str(frozen)!r}, 'rb').read())"
    with pytest.raises(SimplifyError, match="changed the inputs or outputs"):
        simplify(payload, INFO, command=python(code))


def test_the_current_folder_is_never_on_the_childs_path() -> None:
    assert "-P" in COMMAND
