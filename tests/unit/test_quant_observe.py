"""Activations of a small graph, watched: which tensors, which ends, and no dependence on the grouping."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from kdtool.calibration.ranges import METHODS
from kdtool.core.errors import GateError, ModelFileError
from kdtool.core.preprocess import Preprocess
from kdtool.core.screen import QUIET
from kdtool.quant.images import CalibrationImages
from kdtool.quant.observe import activations, observe, ranges_of

SIZE = 6
PREPROCESS = Preprocess(SIZE, SIZE, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
PIXELS = np.random.default_rng(0).integers(0, 256, (20, SIZE, SIZE, 3), dtype=np.uint8)


def write(path: Path, scale: float = 1.0) -> Path:
    weight = scale * np.random.default_rng(1).normal(size=(4, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["images", "w"], ["c"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("Shape", ["r"], ["s"], name="shape"),
        helper.make_node("GlobalAveragePool", ["r"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["logits"], name="flatten"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 4])],
        [numpy_helper.from_array(weight.astype(np.float32), "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    return path


def images_of(indices: np.ndarray) -> CalibrationImages:
    return CalibrationImages(PIXELS, indices, PREPROCESS)


def test_every_float_activation_is_watched_once(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx")
    assert activations(onnx.load(path)) == ["images", "c", "r", "p", "logits"]
    with QUIET.bar("", 1) as bar:
        seen = observe(path, images_of(np.arange(20)), True, bar)

    normalized = PREPROCESS.normalize(PIXELS)
    assert (seen["images"].low, seen["images"].high) == (normalized.min(), normalized.max())
    assert seen["images"].counts.sum() == normalized.size
    assert seen["r"].low == 0
    assert seen["r"].high == seen["c"].high > 0
    assert seen["c"].counts.sum() == 20 * 4 * SIZE * SIZE
    assert list(tmp_path.iterdir()) == [path]


def test_ranges_do_not_depend_on_the_order_of_images(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx")
    with QUIET.bar("", 1) as bar:
        forwards = observe(path, images_of(np.arange(20)), True, bar)
        backwards = observe(path, images_of(np.arange(20)[::-1]), True, bar)
    for method in METHODS:
        assert ranges_of(forwards, method) == ranges_of(backwards, method)


def test_an_activation_that_overflows_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", scale=1e38)
    with QUIET.bar("", 1) as bar, pytest.raises(GateError, match=r"m\.onnx: c contains NaN or infinity"):
        observe(path, images_of(np.arange(4)), False, bar)


@pytest.mark.parametrize("count", [False, True])
def test_an_activation_that_spans_too_much_is_named(tmp_path: Path, count: bool) -> None:
    path = write(tmp_path / "m.onnx", scale=2.2e37)
    message = r"m\.onnx: c contains values from .*e\+38 to .*e\+38 \(too far apart for float32\) on"
    with QUIET.bar("", 1) as bar, pytest.raises(GateError, match=message):
        observe(path, images_of(np.arange(4)), count, bar)


def test_a_hostile_file_is_refused_before_anything_reads_it(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"\x08\x08nonsense")
    with QUIET.bar("", 1) as bar, pytest.raises(ModelFileError):
        observe(tmp_path / "m.onnx", images_of(np.arange(4)), False, bar)
