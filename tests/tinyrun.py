"""Runs made of tiny ONNX models, on which bench, predict and doctor are tested; no torch at work."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from kdtool.cli import main
from kdtool.core.modelinfo import ModelInfo
from kdtool.recipe.settings import BenchSettings
from kdtool.runs.folder import RunFolder

SIDE = 8


CLASSES = ("blue", "green", "red")


SETTINGS = BenchSettings(
    runs=64, warmup=1, threads=1, resamples=1000, single_thread=False, seconds=0, batch=0, cold_starts=0
)


COSTS = {"teacher": (100, 1000), "student": (50, 500), "baseline": (50, 500)}


def photographs(folder: Path, per_class: int, offset: int = 0) -> None:
    """Noisy squares of one colour."""
    for index, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for number in range(per_class):
            noise = np.random.default_rng([index, number, offset]).integers(0, 90, (SIDE, SIDE, 3))
            noise[:, :, 2 - index] += 150
            Image.fromarray(noise.astype(np.uint8)).save(folder / name / f"{number}.png")


def classifier(info: ModelInfo | None, weight: np.ndarray | None = None) -> bytes:
    """Mean colour times a matrix, by default the one that is always right."""
    matrix = np.eye(3, dtype=np.float32)[:, ::-1] * 9 if weight is None else weight.astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["images"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weight"], ["logits"]),
        ],
        "colours",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ("N", 3, SIDE, SIDE))],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ("N", matrix.shape[1]))],
        [numpy_helper.from_array(np.ascontiguousarray(matrix), "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, info.to_metadata() if info else {})
    return model.SerializeToString()


def taking_pixels(path: Path) -> bytes:
    """The model at `path` as `kdtool export --uint8` would write it beside."""
    from kdtool.exporters.passes.uint8 import with_pixels
    from kdtool.runtime.onnxbytes.declared import onnx_info

    info = onnx_info(path)
    assert info is not None
    return with_pixels(onnx.load(path), info.preprocess).SerializeToString()


BLIND = np.zeros((3, 3))  # says blue, whatever it sees


def source_of(run: RunFolder) -> Path:
    return Path(run.read_record()["source"])


def kdtool(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return int(stop.value.code or 0)


def give(run: RunFolder, role: str, weight: np.ndarray | None, **changes: object) -> None:
    """Replace the float model of a role."""
    from kdtool.data.reader import open_prepared

    data = open_prepared(run.data)
    params, macs = COSTS[role]
    info = ModelInfo(role, "tiny", data.classes, data.preprocess, params=params, macs=macs)
    run.onnx_model(role).write_bytes(classifier(replace(info, **changes), weight))
