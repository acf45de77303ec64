"""benchmarks/inference.py on a network of two layers: its shape; its figures are for an idle machine."""

from __future__ import annotations

import json
import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, quantize_static
from PIL import Image

from kdtool.core.modelinfo import ModelInfo
from kdtool.core.screen import QUIET
from kdtool.data.prepare import prepare
from kdtool.machine.cpu import int8_target
from kdtool.recipe.settings import DataSettings, QuantizeSettings, Recipe
from kdtool.runs.folder import RunFolder

pytest.importorskip("nncf", reason="the benchmark's own environment: pip install nncf")
SCRIPT = Path(__file__).parents[2] / "benchmarks" / "inference.py"
SIDE, WIDTH = 8, 8


def network(info: ModelInfo) -> bytes:
    """The mean of each colour, by way of a convolution that hands the colours on."""
    kernel = np.zeros((WIDTH, 3, 3, 3), np.float32)
    kernel[range(3), [2, 1, 0], 1, 1] = 1
    matrix = np.eye(WIDTH, 3, dtype=np.float32) * 9
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["images", "kernel"], ["mapped"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["mapped"], ["kept"]),
            helper.make_node("GlobalAveragePool", ["kept"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["flat"]),
            helper.make_node("MatMul", ["flat", "matrix"], ["logits"]),
        ],
        "colours",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ("N", 3, SIDE, SIDE))],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ("N", 3))],
        [numpy_helper.from_array(kernel, "kernel"), numpy_helper.from_array(matrix, "matrix")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, info.to_metadata())
    return bytes(model.SerializeToString())


class Reader(CalibrationDataReader):
    def __init__(self, images: np.ndarray) -> None:
        self.left = [{"images": image[None]} for image in images]

    def get_next(self) -> dict[str, np.ndarray] | None:
        return self.left.pop() if self.left else None


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    for split in ("train", "validation", "test"):
        for index, name in enumerate(("blue", "green", "red")):
            (tmp_path / "source" / split / name).mkdir(parents=True)
            for number in range(4):
                noise = np.random.default_rng([index, number, len(split)]).integers(0, 90, (SIDE, SIDE, 3))
                noise[:, :, 2 - index] += 150
                path = tmp_path / "source" / split / name / f"{number}.png"
                Image.fromarray(noise.astype(np.uint8)).save(path)
    run = RunFolder(tmp_path / "run")
    prepared, _ = prepare(str(tmp_path / "source"), DataSettings(size=SIDE), 0, run.data, QUIET)
    recipe = Recipe(name="tiny", quantize=QuantizeSettings(calibration_images=6)).to_json()
    run.write_record({"recipe": recipe, "seed": 0, "source": "source", "classes": list(prepared.classes)})
    run.onnx.mkdir()
    for role in ("teacher", "student"):
        info = ModelInfo(role, "tiny", prepared.classes, prepared.preprocess, params=240, macs=14_000)
        run.onnx_model(role).write_bytes(network(info))
    images = prepared.preprocess.normalize(np.asarray(prepared.split("train").images))
    int8 = run.onnx_model("student", "int8")
    quantize_static(run.onnx_model("student"), int8, Reader(images))
    return run


def test_the_benchmark_says_what_it_promises(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "inference.json"
    small = ("--repeats", "2", "--samples", "64", "--seconds", "0", "--threads", "1")
    monkeypatch.setattr("sys.argv", [str(SCRIPT), str(run.path), "--out", str(out), *small])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    content = json.loads(out.read_text())
    assert content["accuracy"]["student"]["accuracy"] == 1.0
    assert {entry["images"] for entry in content["accuracy"].values()} == {12}
    assert len(content["p50_ms"]) == len(content["p50_spread"]) == 6
    assert all(len(medians) == 2 for medians in content["p50_ms"].values())
    assert content["protocol"]["samples_each"] == [64, 64]
    assert content["protocol"]["calibration_images"] == 6
    for one, medians in ((one, content["p50_ms"]) for one in content["runs"]):
        assert one.keys() == medians.keys()
        for name, latency in one.items():
            assert len(latency["samples_ms"]) == 64
            assert len(latency["warmup_ms"]) >= 10
            assert latency["p50_95"][0] <= latency["p50_ms"] <= latency["p50_95"][1]
            assert latency["p50_ms"] in medians[name]
    for found in content["ratios"]:
        assert found["ratio_95"][0] <= found["ratio"] <= found["ratio_95"][1]
    assert set(map(type, content["targets"].values())) == {bool}
    assert content["host"]["versions"].keys() >= {"onnxruntime", "openvino", "nncf"}
    assert content["host"]["int8_target"] == int8_target()
    assert content["files"].keys() == {"teacher.onnx", "student.onnx", "student.int8.onnx"}


def test_int8_of_another_kind_of_processor_is_not_measured(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = run.onnx_model("student", "int8")
    model = onnx.load(path)
    info = ModelInfo.from_metadata({entry.key: entry.value for entry in model.metadata_props}, path)
    helper.set_model_props(model, replace(info, notes={"target": "abacus"}).to_metadata())
    onnx.save(model, path)
    monkeypatch.setattr("sys.argv", [str(SCRIPT), str(run.path), "--threads", "1"])
    with pytest.raises(SystemExit, match=f"was made for abacus.*kdtool quantize {run.path} --target"):
        runpy.run_path(str(SCRIPT), run_name="__main__")
