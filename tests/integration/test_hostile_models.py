"""Hostile or broken ONNX given to any command: exit code 4, and no session was ever created."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from PIL import Image

from kdtool.cli import main


def model_of(**changes: object) -> onnx.ModelProto:
    shape = changes.get("shape", ("n", 3, 8, 8))
    domain = str(changes.get("domain", ""))
    weight = helper.make_tensor("w", TensorProto.FLOAT, [3], [1.0, 1.0, 1.0])
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["images"], ["p"], domain=domain),
            helper.make_node("Flatten", ["p"], ["f"]),
            helper.make_node("Mul", ["f", "w"], ["logits"]),
        ],
        "g",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3])],
        [weight],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def external() -> bytes:
    model = model_of()
    tensor = model.graph.initializer[0]
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../../etc/passwd")
    return bytes(model.SerializeToString())


def enormous() -> bytes:
    model = model_of()
    model.graph.initializer[0].dims[:] = [1 << 40]
    return bytes(model.SerializeToString())


HOSTILE = {
    "external data": external(),
    "a cut-off file": model_of().SerializeToString()[:-9],
    "no protobuf": b"\x00\x01 this is a web page",
    "an enormous tensor": enormous(),
    "an enormous input": model_of(shape=(1, 3, 1 << 20, 1 << 20)).SerializeToString(),
    "an unknown domain": model_of(domain="evil.corp").SerializeToString(),
    "nothing": b"",
}
COMMANDS = {
    "bench": ["bench", "{model}"],
    "bench of a folder": ["bench", "{run}"],
    "bench --per-layer": ["bench", "--per-layer", "{model}"],
    "predict": ["predict", "{image}", "--model", "{model}"],
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("command", COMMANDS)
def test_exit_4_before_any_session(
    command: str,
    kind: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("a session was created")

    monkeypatch.setattr(onnxruntime, "InferenceSession", forbidden)
    model, image = tmp_path / "onnx" / "student.onnx", tmp_path / "image.png"
    model.parent.mkdir()
    model.write_bytes(HOSTILE[kind])
    Image.new("RGB", (8, 8)).save(image)
    places = {"model": str(model), "run": str(tmp_path), "image": str(image)}
    with pytest.raises(SystemExit) as stop:
        main([part.format(**places) for part in COMMANDS[command]])

    shown = capsys.readouterr()
    assert stop.value.code == 4, shown.err
    assert "student.onnx" in shown.err
    assert "Traceback" not in shown.err
