"""The parts of a bundle that need no run: renaming an input, versions in a file, targets, checksums."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from kdtool.bundle import texts
from kdtool.bundle.checksums import SUMS, differences, part_of, sums
from kdtool.bundle.onnxfacts import Versions, versions_in
from kdtool.bundle.rename import rename_input
from kdtool.bundle.targets import TARGETS, doubts, examine, take
from kdtool.core.errors import ModelFileError
from kdtool.runtime.wire import WireError


def model(nodes: list[onnx.NodeProto], opset: int = 18, ir: int = 8) -> bytes:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ("N", 2))],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ("N", 2))],
        [numpy_helper.from_array(np.array([[1.5, -2], [0.25, 3]], np.float32), "weight")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)
    helper.set_model_props(made, {"kdtool": '{"images": "äöü"}'})
    return bytes(made.SerializeToString())


PLAIN = [
    helper.make_node("MatMul", ["images", "weight"], ["product"]),
    helper.make_node("Add", ["product", "images"], ["logits"]),
]


def test_a_renamed_input_is_all_that_changes() -> None:
    before = model(PLAIN)
    after = onnx.load_from_string(rename_input(before, "images", "pixel_values"))
    onnx.checker.check_model(after, full_check=True)
    assert [node.name for node in after.graph.input] == ["pixel_values"]
    assert after.graph.node[1].input[1] == "pixel_values"
    assert after.metadata_props[0].value == '{"images": "äöü"}'
    images = np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32)
    (expected,) = ort.InferenceSession(before).run(None, {"images": images})
    (found,) = ort.InferenceSession(after.SerializeToString()).run(None, {"pixel_values": images})
    assert np.array_equal(found, expected)
    assert rename_input(after.SerializeToString(), "pixel_values", "images") == before


def test_a_subgraph_that_may_name_the_input_is_not_touched() -> None:
    branch = helper.make_graph(
        [helper.make_node("Identity", ["images"], ["same"])],
        "branch", [], [helper.make_tensor_value_info("same", TensorProto.FLOAT, ("N", 2))],
    )  # fmt: skip
    node = helper.make_node("If", ["images"], ["logits"], then_branch=branch, else_branch=branch)
    with pytest.raises(WireError, match="subgraph"):
        rename_input(model([node]), "images", "pixel_values")


@pytest.mark.parametrize(("opset", "ir"), [(13, 7), (18, 8), (21, 10)])
def test_versions_are_those_of_the_file(opset: int, ir: int) -> None:
    assert versions_in(model(PLAIN, opset, ir)) == Versions(ir, opset)


def test_versions_of_other_operator_sets_do_not_count() -> None:
    made = onnx.load_from_string(model(PLAIN))
    made.opset_import.append(helper.make_opsetid("com.microsoft", 99))
    assert versions_in(made.SerializeToString()).opset == 18


@dataclass(frozen=True)
class File:
    file: str
    kind: str
    ir: int = 8
    opset: int = 18
    bytes: int = 10_000_000


FLOAT, INT8 = File("model.onnx", "fp32"), File("model.int8.onnx", "int8")


@pytest.mark.parametrize(
    ("target", "files", "taken"),
    [
        ("android", (FLOAT, INT8), "model.int8.onnx"),
        ("ios", (FLOAT, INT8), "model.onnx"),
        ("ios", (INT8,), ""),
        ("flutter", (File("model.onnx", "fp32", opset=20), INT8), "model.int8.onnx"),
        ("web", (File("model.onnx", "fp32", ir=10),), ""),
    ],
)
def test_what_to_take(target: str, files: tuple[File, ...], taken: str) -> None:
    chosen = TARGETS[target]
    assert take(chosen, files, examine([chosen], files)) == taken


def test_a_heavy_file_loads_and_is_doubted() -> None:
    chosen = TARGETS["android"]
    heavy = (File("model.onnx", "fp32", bytes=85_000_000),)
    findings = examine([chosen], heavy)
    assert take(chosen, heavy, findings) == "model.onnx"
    assert list(doubts(chosen, "model.onnx", findings)) == ["model.onnx: 85.0 MB, more than 50."]


@pytest.mark.parametrize(
    ("name", "part"),
    [("model.onnx", ""), ("golden/a.png", ""), ("onnx/model.onnx", "onnx"), ("web/sw.js", "web")],
)
def test_each_file_stands_in_one_list(name: str, part: str) -> None:
    assert part_of(name) == part


@pytest.mark.parametrize(
    "break_it", [lambda path: path.write_text("other"), Path.unlink], ids=["changed", "missing"]
)
def test_differences_are_named(tmp_path: Path, break_it: Callable[[Path], object]) -> None:
    for name in ("a b.txt", "ü.txt"):
        (tmp_path / name).write_text(name)
    (tmp_path / SUMS).write_text(sums(tmp_path, ["a b.txt", "ü.txt"]))
    assert list(differences(tmp_path)) == []
    break_it(tmp_path / "ü.txt")
    (found,) = differences(tmp_path)
    assert found.startswith(f"{tmp_path / 'ü.txt'}: ")


@pytest.mark.parametrize(
    "line", ["nonsense", f"{'0' * 64}  /etc/passwd", f"{'0' * 64}  ../x", f"{'0' * 63}  x"]
)
def test_a_list_that_is_none_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / SUMS).write_text(line + "\n")
    with pytest.raises(ModelFileError, match="not a list of checksums"):
        list(differences(tmp_path))


def test_markdown_shows_text_as_it_is() -> None:
    assert texts.markdown("a_b|<i>`x`\n") == r"a\_b\|&lt;i&gt;\`x\`\\n"
