"""Compute of files that other exporters made: free sides, old initializers, and what cannot be counted."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fixtures.commands import kdtool
from fixtures.onnxgraphs import model_of
from kdtool.core.errors import ModelFileError
from kdtool.exporters.compute.count import count_onnx

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
# Parameters and MACs of the published networks, with batch norms that are not folded: 4 numbers of a channel.
PUBLISHED = {
    "squeezenet": (1_235_496, 349_151_936),
    "inception_v1": (6_998_552, 1_431_556_352),
    "resnet50": (25_610_153, 4_089_184_256),
    "densenet121": (8_146_152, 2_834_161_664),
    "shufflenet": (1_420_152, 124_664_528),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_files_of_the_package_onnx_are_counted(name: str) -> None:
    """Old files: initializers among the inputs, weights that ConstantOfShape makes."""
    count = count_onnx(LIGHT / f"light_{name}.onnx")
    assert (count.params, count.macs, count.uncounted) == (*PUBLISHED[name], ())


def spelt_sides(*sides: int | str) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["maps"], pads=[1, 1, 1, 1]),
        helper.make_node("GlobalAveragePool", ["maps"], ["y"]),
    ]
    return model_of(nodes, {"x": sides}, {"w": (8, 3, 3, 3)})


@pytest.mark.parametrize("batch", ["n", -1, 0, 1])
def test_a_batch_is_free_however_it_is_spelt(batch: int | str) -> None:
    assert count_onnx(spelt_sides(batch, 3, 32, 32)).macs == 221_184


@pytest.mark.parametrize("sides", [("n", 3, -1, -1), (-1, 3, -1, 32), ("n", 3, 0, 0), ("n", 3, "h", "w")])
def test_free_height_and_width_cannot_be_counted(sides: tuple[int | str, ...]) -> None:
    with pytest.raises(ModelFileError, match="only the batch may be free"):
        count_onnx(spelt_sides(*sides))


def test_what_no_layer_needs_does_not_matter() -> None:
    """Dropout has a mask that nothing reads, whose shape nothing tells; an initializer is an input too."""
    nodes = [
        helper.make_node("ConstantOfShape", ["sides"], ["w"]),
        helper.make_node("Conv", ["x", "w"], ["maps"], pads=[1, 1, 1, 1]),
        helper.make_node("Dropout", ["maps"], ["y", "mask"]),
    ]
    model = model_of(nodes, {"x": (1, 3, 32, 32)}, {}, opset=9)
    model.graph.initializer.append(numpy_helper.from_array(np.array([8, 3, 3, 3], np.int64), "sides"))
    model.graph.input.append(helper.make_tensor_value_info("sides", TensorProto.INT64, [4]))
    count = count_onnx(model)
    assert (count.macs, count.params) == (221_184, 216)


def test_layers_are_counted_without_torch(tmp_path: Path) -> None:
    onnx.save(spelt_sides(1, 3, 32, 32), tmp_path / "m.onnx")
    code = (
        "import sys; sys.modules |= dict.fromkeys(('torch', 'torchvision', 'timm', 'accelerate'))\n"
        "from kdtool.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "bench", "--per-layer", str(tmp_path / "m.onnx")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "221,184 MACs" in done.stdout


QUICK = ("--quick", "--sessions", 1, "--threads", 1)


def test_a_graph_without_products_has_no_compute(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["y"]),
    ]
    onnx.save(model_of(nodes, {"x": (1, 3, 8, 8)}, {}), tmp_path / "m.onnx", save_as_external_data=False)
    assert kdtool("bench", tmp_path / "m.onnx", *QUICK) == 0
    assert "the compute is unknown, since no layer multiplies" in " ".join(capsys.readouterr().err.split())


def test_without_the_package_onnx_nothing_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["y"]),
    ]
    onnx.save(model_of(nodes, {"x": (1, 3, 8, 8)}, {}), tmp_path / "m.onnx")
    for name in ("onnx", "kdtool.exporters.compute.count"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert kdtool("bench", "--per-layer", tmp_path / "m.onnx") == 5
    assert "needs the package onnx" in capsys.readouterr().err
    monkeypatch.delitem(sys.modules, "kdtool.exporters.compute.count")
    assert kdtool("bench", tmp_path / "m.onnx", *QUICK) == 0
    assert "To count it: pip install onnx" in " ".join(capsys.readouterr().err.split())
