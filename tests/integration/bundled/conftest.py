"""A run that is small enough to bundle in a moment, with models whose answers depend on every pixel."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
from playwright.sync_api import Browser

from fixtures.browser import chromium, serving
from fixtures.images import coloured, write_photographs
from kdtool.bundle.options import Options
from kdtool.bundle.page.runtime import find_runtime
from kdtool.bundle.page.serve import open_server
from kdtool.bundle.stage import write_bundle
from kdtool.core.modelinfo import ModelInfo
from kdtool.core.preprocess import Preprocess
from kdtool.core.screen import QUIET
from kdtool.data.prepare import prepare
from kdtool.recipe.settings import DataSettings, Recipe
from kdtool.runs.folder import RunFolder

SIDE, RESIZE = 16, 20


def network(classes: int, opset: int = 18) -> onnx.ModelProto:
    """A convolution and a matrix over what it leaves, so that no pixel is without a say."""
    random = np.random.default_rng(5)
    kernel = random.normal(0, 0.4, (4, 3, 3, 3)).astype(np.float32)
    flat = 4 * (SIDE - 2) ** 2
    matrix = random.normal(0, 0.1, (flat, classes)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["images", "kernel"], ["features"], kernel_shape=[3, 3]),
            helper.make_node("Relu", ["features"], ["active"]),
            helper.make_node("Flatten", ["active"], ["flat"]),
            helper.make_node("MatMul", ["flat", "matrix"], ["logits"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ("N", 3, SIDE, SIDE))],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ("N", classes))],
        [numpy_helper.from_array(kernel, "kernel"), numpy_helper.from_array(matrix, "matrix")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def takes_pixels(model: onnx.ModelProto, preprocess: Preprocess) -> onnx.ModelProto:
    """The same network with its preprocessing from 8-bit (N, H, W, 3) inside."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    std = np.asarray(preprocess.std, np.float32)
    constants = {
        "scale": (1 / (255 * std)).astype(np.float32),
        "shift": (-np.asarray(preprocess.mean, np.float32) / std).astype(np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["floats", "scale"], ["scaled"]),
        helper.make_node("Add", ["scaled", "shift"], ["shifted"]),
        helper.make_node("Transpose", ["shifted"], ["images"], perm=[0, 3, 1, 2]),
        *made.graph.node,
    ]
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    made.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    del made.graph.input[:]
    made.graph.input.append(helper.make_tensor_value_info("pixels", TensorProto.UINT8, ("N", SIDE, SIDE, 3)))
    return made


def write_int8(source: Path, target: Path, images: np.ndarray) -> None:
    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = [{"images": image[None]} for image in images]

        def get_next(self) -> Any:
            return self.left.pop() if self.left else None

    quantize_static(source, target, Reader(), quant_format=QuantFormat.QDQ)


def write_ort(source: Path, target: Path) -> None:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(target)
    options.add_session_config_entry("session.save_model_format", "ORT")
    ort.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="session")
def make_bundle_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., RunFolder]:
    """Makes a run with student.onnx, student.int8.onnx, student.uint8.onnx and student.ort."""

    def make(classes: Sequence[str] = ("red", "green", "blue"), opset: int = 18) -> RunFolder:
        root = tmp_path_factory.mktemp("bundled")
        counts = {"train": 3, "validation": 2, "test": 4}
        write_photographs(
            root / "photos", classes, counts, lambda label, seed: coloured(label, [label, seed], 40, 32)
        )
        run = RunFolder(root / "run")
        settings = DataSettings(size=SIDE, resize=RESIZE)
        prepared, _ = prepare(str(root / "photos"), settings, 0, run.data, QUIET)
        run.onnx.mkdir()
        model = network(len(classes), opset)
        info = ModelInfo("student", "tiny", prepared.classes, prepared.preprocess, params=700, macs=9000)
        helper.set_model_props(model, info.to_metadata())
        path = run.onnx_model("student")
        onnx.save(model, path)
        images = prepared.preprocess.normalize(np.asarray(prepared.split("train").images))
        write_int8(path, run.onnx_model("student", "int8"), images)
        onnx.save(takes_pixels(model, prepared.preprocess), run.onnx / "student.uint8.onnx")
        write_ort(path, run.onnx / "student.ort")
        (run.onnx / "student.required_operators.config").write_text("ai.onnx;18;Conv,MatMul\n")
        recipe = Recipe(name="tiny", data=settings).to_json()
        record = {"recipe": recipe, "seed": 0, "source": str(root / "photos"), "classes": list(classes)}
        run.write_record({**record, "classes": list(prepared.classes)})
        return run

    return make


@pytest.fixture(scope="session")
def bundled(make_bundle_run: Callable[..., RunFolder]) -> Path:
    """The folder of a bundle, not to be changed."""
    return write_bundle(make_bundle_run(), Options(), find_runtime(), QUIET)


@pytest.fixture
def run(bundled: Path, tmp_path: Path) -> RunFolder:
    """A copy of the run, bundled already."""
    return RunFolder(Path(shutil.copytree(bundled.parent, tmp_path / "run")))


@pytest.fixture(scope="module")
def address(bundled: Path) -> Iterator[str]:
    with serving(open_server(bundled, "127.0.0.1", 0)) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser
