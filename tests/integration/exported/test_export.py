"""Export of a run: files, gates, variants, kills."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from fixtures.runs.networks import (
    BENCH,
    CLASSES,
    EXPORT,
    EXPORTED,
    PREPROCESS,
    QUANTIZE,
    SIZE,
    contents,
    killed_and_done_again,
    names,
    pictures,
    replace_teacher,
    without_test,
)
from fixtures.screens import Recorder
from kdtool.arch.network import load_network, parameter_count
from kdtool.benchmark.stage import bench_run
from kdtool.core.errors import GateError, ModelFileError, UsageError
from kdtool.core.files import sha256_bytes, sha256_file
from kdtool.core.modelinfo import METADATA_KEY, ModelInfo
from kdtool.core.screen import QUIET
from kdtool.data.reader import Prepared
from kdtool.exporters.passes.simplify import simplify
from kdtool.exporters.stage import export_models
from kdtool.graph.onnxfile import onnx_bytes
from kdtool.quant.stage import quantize_models
from kdtool.recipe.settings import ExportSettings
from kdtool.runs.folder import RunFolder
from kdtool.runtime.onnxruntime import open_model

CHILD = """
import sys
from pathlib import Path
import onnx
from kdtool.arch.network import load_network
from kdtool.core.files import sha256_bytes
from kdtool.graph.onnxfile import onnx_bytes
from kdtool.exporters.onnx import export_network
from kdtool.exporters.passes.simplify import simplify
network, info = load_network(Path(sys.argv[1]))
raw = onnx_bytes(export_network(network, info.arch, info.preprocess.size, int(sys.argv[2])), info)
print(sha256_bytes(onnx_bytes(onnx.load_model_from_string(simplify(raw, info)))))
"""


def test_each_network_is_one_file_that_says_what_it_is(
    exported: tuple[RunFolder, Prepared, Recorder],
) -> None:
    run, _, ear = exported
    assert names(run) == EXPORTED
    for role in ("teacher", "student"):
        session = open_model(run.onnx_model(role))
        info = session.info
        assert info is not None
        assert (info.role, info.arch, info.precision) == (role, "resnet18", "fp32")
        assert (info.classes, info.preprocess) == (CLASSES, PREPROCESS)
        assert info.weights_sha256 == sha256_file(run.weights(role))
        assert info.params == parameter_count(load_network(run.weights(role))[0])
        assert info.macs > 0
        assert {"torch", "onnx", "onnxscript", "onnxsim"} <= set(info.versions)
        assert session.input_shape == (None, 3, SIZE, SIZE)
        model = onnx.load(run.onnx_model(role))
        assert [value.name for value in (*model.graph.input, *model.graph.output)] == ["images", "logits"]
        assert {p.key for p in model.metadata_props} == {METADATA_KEY}
        operators = Counter(node.op_type for node in model.graph.node)
        assert operators["GlobalAveragePool"] == 1
        assert "ReduceMean" not in operators
    assert not ear.warned
    assert [line.split(",")[0] for line in ear.said] == [
        f"export: {run.onnx_model(r)}" for r in ("teacher", "student")
    ]


def test_no_path_of_this_machine_is_in_the_file(exported: tuple[RunFolder, Prepared, Recorder]) -> None:
    run, _, _ = exported
    content = run.onnx_model("teacher").read_bytes()
    for secret in (str(Path(torch.__file__).parent), str(Path.home()), str(run.path), "stack_trace"):
        assert secret.encode() not in content


def test_the_manifest_holds_the_figures(exported: tuple[RunFolder, Prepared, Recorder]) -> None:
    run, prepared, _ = exported
    ear = Recorder()
    facts = export_models(run, without_test(prepared), EXPORT, ear)

    assert ear.said == [f"export: {role}: complete, skipped" for role in ("teacher", "student")]
    for role, fact in facts.items():
        assert fact["macs"] == fact["thop_macs"]
        assert fact["size_bytes"] == run.onnx_model(role).stat().st_size
        assert fact["simplified"] is True
        for kind in ("raw", "simplified"):
            assert set(fact["parity"][kind]) == {"1", "2", "7"}
            assert max(fact["parity"][kind].values()) <= EXPORT.tolerance


def test_another_process_writes_the_same_bytes(exported: tuple[RunFolder, Prepared, Recorder]) -> None:
    run, _, _ = exported
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(run.weights("teacher")), str(EXPORT.opset)],
        env=os.environ | {"PYTHONHASHSEED": "1"},
        capture_output=True,
        check=True,
        text=True,
    )
    assert child.stdout.strip() == sha256_bytes(onnx_bytes(onnx.load(run.onnx_model("teacher"))))


def test_changed_weights_are_exported_again(unexported: tuple[RunFolder, Prepared]) -> None:
    run, prepared = unexported
    run.onnx.mkdir()
    for name in ("teacher.onnx", "teacher.int8.onnx", "student.onnx"):
        (run.onnx / name).write_bytes(b"of older weights")

    ear = Recorder()
    export_models(run, prepared, EXPORT, ear)

    assert names(run) == EXPORTED
    (gone,) = [line for line in ear.said if "is gone" in line]
    assert gone.startswith("export: teacher: its INT8 is gone")
    assert f"kdtool quantize {run.path}" in gone
    assert open_model(run.onnx_model("teacher")).info is not None


def test_a_wrong_export_stops_at_the_gate_and_leaves_nothing(
    unexported: tuple[RunFolder, Prepared], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, prepared = unexported
    from kdtool.exporters import model as module

    export = module.export_network

    def wrong(*arguments: object) -> onnx.ModelProto:
        graph = export(*arguments)  # type: ignore[arg-type]  # the real one's arguments, passed on
        weight = next(tensor for tensor in graph.graph.initializer if len(tensor.dims) == 4)
        values = numpy_helper.to_array(weight).copy()
        values[0] *= 1.5
        weight.CopyFrom(numpy_helper.from_array(values, weight.name))
        return graph

    monkeypatch.setattr(module, "export_network", wrong)
    with pytest.raises(GateError) as caught:
        export_models(run, prepared, EXPORT, QUIET)

    assert caught.value.exit_code == 6
    assert f"{run.onnx_model('teacher')}: for a batch of 1, max |Δlogit|" in str(caught.value)
    assert names(run) == []


def test_variants_lie_beside_the_model_or_nothing_does(
    unexported: tuple[RunFolder, Prepared], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, prepared = unexported
    monkeypatch.setattr("kdtool.exporters.model.thop_macs", lambda *_: 0)
    settings = EXPORT.model_copy(update={"uint8": True, "ort": True, "fixed_batch": True})
    facts = export_models(run, prepared, settings, QUIET)

    ends = (".onnx", ".uint8.onnx", ".ort", ".required_operators.config")
    files = [f"{role}{end}" for role in ("teacher", "student") for end in ends]
    assert names(run) == sorted([*files, *(name for name in EXPORTED if name.endswith(".json"))])
    assert set(facts["student"]["parity"]) == {"raw", "simplified", "uint8", "ort"}
    assert open_model(run.onnx_model("student")).input_shape == (1, 3, SIZE, SIZE)

    def wrong(content: bytes, *_: object) -> None:
        raise GateError("the answers differ")

    monkeypatch.setattr("kdtool.exporters.variants.open_ort", wrong)
    for role in ("teacher", "student"):
        run.export_manifest(role).unlink()
    with pytest.raises(GateError, match="the answers differ"):
        export_models(run, prepared, settings, QUIET)
    assert [name for name in names(run) if name.startswith("teacher")] == []


@pytest.mark.parametrize("code", ["import os; os.abort()", "print('nonsense')"])
def test_a_crash_of_onnxsim_keeps_the_raw_export_and_warns(
    unexported: tuple[RunFolder, Prepared], monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    run, prepared = unexported
    child = functools.partial(simplify, command=(sys.executable, "-c", code))
    monkeypatch.setattr("kdtool.exporters.model.simplify", child)
    ear = Recorder()
    facts = export_models(run, prepared, EXPORT, ear)

    assert [line.count("not simplified, the raw export is kept (onnxsim") for line in ear.warned] == [1, 1]
    assert not facts["teacher"]["simplified"]
    assert set(facts["teacher"]["parity"]) == {"raw"}
    assert open_model(run.onnx_model("teacher")).info is not None
    assert names(run) == EXPORTED


def test_a_wrong_simplification_is_thrown_away(
    unexported: tuple[RunFolder, Prepared], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, prepared = unexported

    def wrong(payload: bytes, info: ModelInfo) -> bytes:
        model = onnx.load_model_from_string(payload)
        bias = next(t for t in model.graph.initializer if list(t.dims) == [len(CLASSES)])
        bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + np.float32(1), bias.name))
        return bytes(model.SerializeToString())

    monkeypatch.setattr("kdtool.exporters.model.simplify", wrong)
    ear = Recorder()
    facts = export_models(run, prepared, EXPORT, ear)

    assert all("not simplified" in line and "max |Δlogit|" in line for line in ear.warned)
    assert len(ear.warned) == 2
    pixels, _ = pictures("validation")
    logits = open_model(run.onnx_model("teacher")).run(PREPROCESS.normalize(pixels))
    expected = load_network(run.weights("teacher"))[0](torch.from_numpy(PREPROCESS.normalize(pixels)))
    np.testing.assert_allclose(logits, expected.detach().numpy(), atol=1e-4)
    assert not facts["student"]["simplified"]


def test_counts_that_disagree_are_a_warning(
    unexported: tuple[RunFolder, Prepared], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, prepared = unexported
    monkeypatch.setattr("kdtool.exporters.model.thop_macs", lambda *_: 1000)
    ear = Recorder()
    export_models(run, prepared, EXPORT, ear)
    assert all("differ by more than 1 %" in line and "1,000 by thop" in line for line in ear.warned)
    assert len(ear.warned) == 2


def test_a_network_the_exporter_refuses_is_an_error_in_words(
    copy: tuple[RunFolder, Prepared], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("no such operator\nand a page of details")

    monkeypatch.setattr(torch.onnx, "export", refuse)
    run, prepared = copy
    with pytest.raises(ModelFileError) as caught:
        export_models(run, prepared, ExportSettings(opset=20), QUIET)
    assert "resnet18 cannot be exported to ONNX with opset 20 (RuntimeError: no such operator)" in str(
        caught.value
    )
    assert "--set export.opset=18" in str(caught.value)  # another one than failed
    assert names(run) == [name for name in EXPORTED if "student" in name]  # the teacher's old one is gone


def test_a_run_without_networks_is_a_usage_error(
    exported: tuple[RunFolder, Prepared, Recorder], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="no trained network"):
        export_models(RunFolder(tmp_path), exported[1], EXPORT, QUIET)


@pytest.mark.parametrize("role", ["teacher", "student"])
def test_damaged_weights_are_not_exported(copy: tuple[RunFolder, Prepared], role: str) -> None:
    run, prepared = copy
    content = bytearray(run.weights(role).read_bytes())
    content[-1] ^= 1
    run.weights(role).write_bytes(content)
    command = {"teacher": "teach", "student": "distill"}[role]

    with pytest.raises(ModelFileError) as caught:
        export_models(run, prepared, EXPORT, QUIET)
    assert f"{run.role(role)}: model.safetensors differs from its manifest (damaged" in caught.value.message
    assert f"kdtool {command} --out {run.path}" in caught.value.hint
    run.weights(role).unlink()
    with pytest.raises(ModelFileError, match="differs from its manifest"):
        export_models(run, prepared, EXPORT, QUIET)


def test_a_baseline_added_later_costs_no_other_export(
    copy: tuple[RunFolder, Prepared], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, prepared = copy
    shutil.copytree(run.role("student"), run.role("baseline"))
    answer = run.onnx_model("student").read_bytes()
    monkeypatch.setattr(
        "kdtool.exporters.model.export_network", lambda *_: onnx.load_model_from_string(answer)
    )
    monkeypatch.setattr("kdtool.exporters.model.simplify", lambda payload, _: payload)
    ear = Recorder()
    facts = export_models(run, prepared, EXPORT, ear)

    assert list(facts) == ["teacher", "student", "baseline"]
    assert ear.said[:2] == [f"export: {role}: complete, skipped" for role in ("teacher", "student")]
    assert ear.said[2].startswith(f"export: {run.onnx_model('baseline')}, ")
    assert names(run) == sorted([*EXPORTED, "baseline.onnx", "export.baseline.manifest.json"])


def test_a_new_teacher_is_not_paired_with_an_old_student(copy: tuple[RunFolder, Prepared]) -> None:
    run, prepared = copy
    replace_teacher(run)
    with pytest.raises(UsageError, match=r"was trained with another teacher.*\n.*kdtool distill --out"):
        export_models(run, prepared, EXPORT, QUIET)
    with pytest.raises(UsageError, match=r"teacher\.onnx was made from other weights"):
        quantize_models(run, prepared, QUANTIZE, QUIET)
    with pytest.raises(UsageError, match=r"teacher\.onnx was made from other weights"):
        bench_run(run, None, BENCH, QUIET)
    assert names(run) == EXPORTED


def test_a_kill_anywhere_in_export_changes_nothing_in_the_end(
    unexported: tuple[RunFolder, Prepared], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, prepared = unexported
    monkeypatch.setattr("kdtool.exporters.model.thop_macs", lambda *_: 0)

    def work() -> None:
        export_models(run, prepared, EXPORT, QUIET)

    ends = killed_and_done_again(run, work, monkeypatch)

    assert list(contents(run)) == EXPORTED
    assert len(ends) == 8  # of each role a model and a manifest, of each the file and its folder
    assert all(end == contents(run) for end in ends)
