"""The parts of a bundle that need no run: renaming an input, versions in a file, targets, checksums."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from kdtool.bundle import texts
from kdtool.bundle.licences import front_matter
from kdtool.bundle.options import UNSTATED
from kdtool.bundle.packing import SUMS, checksums, differences, part_of
from kdtool.bundle.page import webpage
from kdtool.bundle.shipped import int8_facts
from kdtool.bundle.targets import TARGETS, best_file, check_compatibility, notes_on
from kdtool.core.errors import ModelFileError
from kdtool.runs.folder import RunFolder
from kdtool.runs.stage import Stage
from kdtool.runtime.onnxbytes.rename import rename_input
from kdtool.runtime.onnxbytes.versions import Versions, onnx_versions, ort_versions
from kdtool.runtime.onnxbytes.wire import WireError


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
    assert onnx_versions(model(PLAIN, opset, ir)) == Versions(ir, opset)


def test_versions_of_other_operator_sets_do_not_count() -> None:
    made = onnx.load_from_string(model(PLAIN))
    made.opset_import.append(helper.make_opsetid("com.microsoft", 99))
    assert onnx_versions(made.SerializeToString()).opset == 18


@pytest.mark.parametrize("opset", [13, 18])
def test_an_ort_file_states_its_operators_and_its_format(tmp_path: Path, opset: int) -> None:
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "model.ort")
    options.add_session_config_entry("session.save_model_format", "ORT")
    ort.InferenceSession(model(PLAIN, opset), options, providers=["CPUExecutionProvider"])
    content = (tmp_path / "model.ort").read_bytes()
    found = ort_versions(content)
    assert (found.ir, found.opset) == (0, opset)
    assert found.ort >= 5
    for end in range(0, 64, 4):  # its tables lie behind
        with pytest.raises(WireError, match=r"not an \.ort file"):
            ort_versions(content[:end])


@given(content=st.binary(max_size=200))
def test_what_is_no_ort_file_is_one_kind_of_error(content: bytes) -> None:
    with contextlib.suppress(WireError):
        ort_versions(content)


@dataclass(frozen=True)
class File:
    file: str
    kind: str
    ir: int = 8
    opset: int = 18
    ort: int = 0
    bytes: int = 10_000_000
    made_for: str | None = None
    faster: bool | None = None


FLOAT, INT8 = File("model.onnx", "fp32"), File("model.int8.onnx", "int8")
FASTER = replace(INT8, made_for="x86-avx2", faster=True)
SLOWER = replace(INT8, made_for="x86-avx2", faster=False)


@pytest.mark.parametrize(
    ("target", "files", "taken"),
    [
        ("android", (FLOAT, INT8), "model.int8.onnx"),
        ("ios", (FLOAT, INT8), "model.onnx"),
        ("ios", (INT8,), ""),
        ("flutter", (FLOAT, File("model.int8.onnx", "int8", opset=22)), "model.onnx"),
        ("react-native", (File("model.onnx", "fp32", ir=9, opset=20),), "model.onnx"),
        ("react-native", (File("model.onnx", "fp32", opset=21),), ""),
        ("react-native", (File("model.ort", "ort", ir=0, ort=6),), "model.ort"),
        ("android", (File("model.ort", "ort", ir=0, ort=7),), ""),
        ("android", (File("model.ort", "ort", ir=0, ort=6, opset=22),), ""),
        ("web", (File("model.onnx", "fp32", ir=10),), ""),
        ("web", (FLOAT, INT8), "model.onnx"),
        ("web", (File("model.onnx", "fp32", ir=10), INT8), "model.int8.onnx"),
        ("python", (FLOAT, INT8), "model.int8.onnx"),
        ("python", (FLOAT, FASTER), "model.int8.onnx"),
        ("python", (FLOAT, SLOWER), "model.onnx"),
        ("android", (FLOAT, SLOWER), "model.int8.onnx"),  # measured on another kind of processor
    ],
)
def test_what_to_take(target: str, files: tuple[File, ...], taken: str) -> None:
    chosen = TARGETS[target]
    assert best_file(chosen, files, check_compatibility([chosen], files)) == taken


def test_why_a_file_is_not_loaded_is_said() -> None:
    file = File("model.ort", "ort", ir=11, opset=22, ort=7)
    (finding,) = check_compatibility([TARGETS["android"]], [file])
    assert not finding.loads
    assert finding.reasons == (
        "IR 11, the target loads up to 10",
        "opset 22, the target loads up to 21",
        ".ort format 7, the target loads up to 6",
    )


def test_what_compat_exports_every_target_loads() -> None:
    """`kdtool export --compat`, and the default: the advice where a file is too new must help."""
    from kdtool.cli.export import COMPATIBLE
    from kdtool.recipe.settings import ExportSettings

    for opset in (COMPATIBLE, ExportSettings().opset):
        files = [File("model.onnx", "fp32", opset=opset)]
        for finding in check_compatibility(TARGETS.values(), files):
            assert finding.loads, finding


def test_a_heavy_file_loads_and_is_doubted() -> None:
    chosen = TARGETS["android"]
    heavy = (File("model.onnx", "fp32", bytes=85_000_000),)
    findings = check_compatibility([chosen], heavy)
    assert best_file(chosen, heavy, findings) == "model.onnx"
    assert list(notes_on(chosen, "model.onnx", findings)) == ["model.onnx: 85.0 MB, more than 50 MB."]


@pytest.mark.parametrize(
    ("target", "model", "said"),
    [
        ("android", INT8, []),
        ("android", replace(INT8, made_for="arm-dotprod"), []),
        (
            "android", SLOWER,
            [
                "model.int8.onnx: made for x86-avx2; "
                "for this target use `kdtool quantize --target arm-dotprod`.",
            ],
        ),
        (
            "python", FASTER,
            ["model.int8.onnx: made for x86-avx2; for another processor use `kdtool quantize`."],
        ),
        ("ios", SLOWER, []),  # which takes float32
    ],
)  # fmt: skip
def test_int8_for_another_processor_is_said(target: str, model: File, said: list[str]) -> None:
    chosen, files = TARGETS[target], (FLOAT, model)
    findings = check_compatibility([chosen], files)
    assert list(notes_on(chosen, best_file(chosen, files, findings), findings)) == said


def test_why_float32_comes_first_is_said() -> None:
    chosen = TARGETS["python"]
    (said,) = notes_on(chosen, "model.onnx", check_compatibility([chosen], (FLOAT, SLOWER)))
    assert "not measurably faster than float32 on the machine that made it" in said


@pytest.mark.parametrize(
    ("speed", "faster"), [(None, None), ({"ci": [1.09, 2]}, False), ({"ci": [1.1, 2]}, True)]
)
def test_what_quantize_found_out_is_known(tmp_path: Path, speed: object, faster: bool | None) -> None:
    run = RunFolder(tmp_path)
    assert int8_facts(run, "student") == (None, None)
    facts = {"recipe": {"target": "arm"}, "speed": speed}
    run.onnx.mkdir()
    Stage("quantize", run.onnx, {}, run.quantize_manifest("student").name).seal([], facts, {})
    assert int8_facts(run, "student") == ("arm", faster)


@pytest.mark.parametrize(
    ("license", "lines"),
    [
        ("CC-BY-4.0", "license: cc-by-4.0"),
        ("MIT", "license: mit"),
        ("GPL-3.0-only", 'license: other\nlicense_name: "GPL-3.0-only"'),
        ("mine: all\n---", 'license: other\nlicense_name: "mine: all\\n---"'),
        (UNSTATED, "license: other"),
    ],
)
def test_the_licence_is_stated_as_the_hub_knows_it(license: str, lines: str) -> None:
    assert front_matter(license) == lines


@pytest.mark.parametrize(
    ("name", "part"),
    [("model.onnx", ""), ("golden/a.png", ""), ("hub/onnx/model.onnx", "hub"), ("web/sw.js", "web")],
)
def test_each_file_stands_in_one_list(name: str, part: str) -> None:
    assert part_of(name) == part


@pytest.mark.parametrize(
    "break_it", [lambda path: path.write_text("other"), Path.unlink], ids=["changed", "missing"]
)
def test_differences_are_named(tmp_path: Path, break_it: Callable[[Path], object]) -> None:
    for name in ("a b.txt", "ü.txt"):
        (tmp_path / name).write_text(name)
    (tmp_path / SUMS).write_text(checksums(tmp_path, ["a b.txt", "ü.txt"]))
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


def test_every_module_of_the_page_is_given_out_and_stored() -> None:
    there = {path.name for path in resources.files("kdtool.bundle").joinpath("web").iterdir()}
    assert there == {*webpage.STATIC, webpage.INDEX, webpage.WORKER, webpage.MANIFEST}
    for file in (name for name in webpage.STATIC if name.endswith(".js")):
        wanted = re.findall(r'^import .* from "\./(.*)";$', webpage.source(file), re.MULTILINE)
        assert set(wanted) <= set(webpage.STATIC), file
