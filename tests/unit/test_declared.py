"""What model files state of themselves, read without torch or a runtime; broken ones are model errors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from safetensors.numpy import save_file

from kdtool.core.errors import ModelFileError
from kdtool.core.modelinfo import METADATA_KEY, ModelInfo
from kdtool.core.preprocess import Preprocess
from kdtool.runtime.onnxbytes.declared import onnx_info, weights_info

INFO = ModelInfo("teacher", "resnet18", ("chat", "hündin"), Preprocess(8, 8), label_smoothing=0.1)


def onnx_file(path: Path, metadata: dict[str, str]) -> Path:
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ("N", 2)) for name in ("images", "logits")
    ]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["images"], ["logits"])], "g", values[:1], values[1:]
    )
    model = helper.make_model(graph)
    helper.set_model_props(model, metadata)
    onnx.save(model, path)
    return path


def weights_file(path: Path, metadata: dict[str, str] | None) -> Path:
    save_file({"weight": np.ones(3, np.float32)}, path, metadata)
    return path


def test_as_it_was_written(tmp_path: Path) -> None:
    others = {"author": "someone", "empty": ""}
    assert onnx_info(onnx_file(tmp_path / "m.onnx", others | INFO.to_metadata())) == INFO
    assert weights_info(weights_file(tmp_path / "m.safetensors", others | INFO.to_metadata())) == INFO


def test_files_of_others_state_nothing(tmp_path: Path) -> None:
    assert onnx_info(onnx_file(tmp_path / "m.onnx", {"author": "someone"})) is None
    assert weights_info(weights_file(tmp_path / "m.safetensors", {"author": "someone"})) is None
    assert weights_info(weights_file(tmp_path / "m.safetensors", None)) is None


def header(content: object) -> bytes:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return len(text).to_bytes(8, "little") + text


@pytest.mark.parametrize(
    "content",
    [
        b"", b"torn", bytes(8), b"\xff" * 16, header(b"{")[:-1], header(b"\xff"), header([]),
        header(b"[" * 100_000), header({"__metadata__": ["kdtool"]}),
        header({"__metadata__": 1}), header(b"9" * 5000),
    ],
    ids=range(11),
)  # fmt: skip
def test_broken_weights(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match="not a readable safetensors file"):
        weights_info(path)


def test_weights_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="not a readable safetensors file"):
        weights_info(tmp_path / "m.safetensors")


@pytest.mark.parametrize("entry", [b"\x72\x02\x0a\x09", b"\x70\x01"], ids=["cut off", "a number"])
def test_broken_metadata_of_onnx(tmp_path: Path, entry: bytes) -> None:
    path = onnx_file(tmp_path / "m.onnx", {})
    path.write_bytes(path.read_bytes() + entry)
    with pytest.raises(ModelFileError, match="not an intact ONNX file"):
        onnx_info(path)


def test_records_that_cannot_be_understood(tmp_path: Path) -> None:
    record = {METADATA_KEY: "{}"}
    for read, path in (
        (onnx_info, onnx_file(tmp_path / "m.onnx", record)),
        (weights_info, weights_file(tmp_path / "m.safetensors", record)),
    ):
        with pytest.raises(ModelFileError, match="its kdtool metadata cannot be read"):
            read(path)
