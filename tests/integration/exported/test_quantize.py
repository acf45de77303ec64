"""INT8 of a run: accuracy, gates, settings, kills."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from fixtures.runs.networks import (
    BENCH,
    CLASSES,
    EXPORT,
    EXPORTED,
    QUANTIZE,
    Kill,
    contents,
    killed_and_done_again,
    names,
    without_test,
)
from fixtures.screens import Recorder
from kdtool.benchmark.stage import bench_run
from kdtool.core.errors import GateError, ModelFileError, SetupError, UsageError
from kdtool.core.files import sha256_file
from kdtool.core.screen import QUIET
from kdtool.data.reader import Prepared
from kdtool.exporters.stage import export_models
from kdtool.machine.cpu import int8_target
from kdtool.quant.accuracy import Accuracy
from kdtool.quant.speed import Speed
from kdtool.quant.stage import quantize_models
from kdtool.quant.target import SCHEMES
from kdtool.recipe.choices import Int8Target
from kdtool.runs.folder import RunFolder
from kdtool.runs.lock import run_lock
from kdtool.runs.models import sealed_models
from kdtool.runtime.onnxruntime import open_model


def test_int8_keeps_the_accuracy_and_says_so(copy: tuple[RunFolder, Prepared], tmp_path: Path) -> None:
    run, prepared = copy
    ear = Recorder()
    facts = quantize_models(run, without_test(prepared), QUANTIZE, ear).facts

    assert names(run) == [
        *EXPORTED[:2],
        "quantize.student.manifest.json",
        "quantize.teacher.manifest.json",
        "student.int8.onnx",
        "student.onnx",
        "teacher.int8.onnx",
        "teacher.onnx",
    ]
    assert ear.said[0].startswith("quantize: ")
    lines = [line for line in ear.said if "validation accuracy" in line]
    for role, line in zip(("teacher", "student"), lines, strict=True):
        path = run.onnx_model(role, "int8")
        assert facts[role]["accuracy_before"] == facts[role]["accuracy_after"] == 1.0
        assert "validation accuracy 100.00 % → 100.00 % (+0.00 percentage points, 24 images)" in line
        info, before = open_model(path).info, open_model(run.onnx_model(role)).info
        assert info is not None and before is not None
        assert info.precision == "int8"
        assert (info.role, info.classes, info.macs, info.params) == (
            role,
            CLASSES,
            before.macs,
            before.params,
        )
        assert info.weights_sha256 == before.weights_sha256
        assert info.notes["target"] in SCHEMES
        assert info.notes["calibration"] == "minmax over 12 training images"
        assert facts[role]["size_bytes"] < 0.3 * run.onnx_model(role).stat().st_size

    again = Recorder()
    first = sha256_file(run.onnx_model("teacher", "int8"))
    assert quantize_models(run, prepared, QUANTIZE, again).facts == facts
    for role in ("teacher", "student"):
        assert f"quantize: {role}: complete, skipped" in again.said
    run.quantize_manifest("teacher").unlink()
    quantize_models(run, prepared, QUANTIZE, QUIET)
    assert sha256_file(run.onnx_model("teacher", "int8")) == first


@pytest.mark.parametrize("target", SCHEMES)
def test_every_layer_runs_in_integers(copy: tuple[RunFolder, Prepared], tmp_path: Path, target: str) -> None:
    """Fused as on the target: ONNX Runtime takes signed activations for integers on ARM alone."""
    run, prepared = copy
    quantize_models(run, prepared, QUANTIZE.model_copy(update={"target": target, "max_drop": 10.0}), QUIET)
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.qdqisint8allowed", "1" if target.startswith("arm") else "0")
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(
        str(run.onnx_model("student", "int8")), options, providers=["CPUExecutionProvider"]
    )
    operators = Counter(node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node)

    assert operators["QLinearConv"] == 20
    assert operators["QLinearAdd"] == 8  # the residual connections
    assert operators["QLinearGlobalAveragePool"] == operators["QGemm"] == 1
    assert operators["QuantizeLinear"] == operators["DequantizeLinear"] == 1  # of the pixels, of the logits
    floats = {"Conv", "FusedConv", "Relu", "Add", "Gemm", "ReduceMean", "GlobalAveragePool"}
    assert not floats & set(operators)


def test_nothing_is_left_in_the_current_or_the_temporary_folder(
    copy: tuple[RunFolder, Prepared],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    run, prepared = copy
    here, scratch = tmp_path / "here", tmp_path / "scratch"
    here.mkdir()
    scratch.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    quantize_models(run, prepared, QUANTIZE, QUIET)

    assert not list(here.iterdir())
    assert not list(scratch.iterdir())
    assert capfd.readouterr() == ("", "")


def collapsing(*roles: str) -> Callable[..., onnx.ModelProto]:
    """Instead of the quantizer: the best class becomes the worst in the models of `roles`."""

    def quantize(source: Path, *_: object) -> onnx.ModelProto:
        model = onnx.load(source)
        for tensor in model.graph.initializer:
            if source.stem in roles and tensor.dims and tensor.dims[0] == len(CLASSES):
                tensor.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(tensor), tensor.name))
        return model

    return quantize


def test_a_collapse_stops_at_the_gate_and_leaves_nothing(
    copy: tuple[RunFolder, Prepared], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, prepared = copy
    monkeypatch.setattr("kdtool.quant.maker.quantize_to_int8", collapsing("teacher", "student"))
    with pytest.raises(GateError) as caught:
        quantize_models(run, prepared, QUANTIZE, QUIET)

    assert caught.value.exit_code == 6
    for part in (
        f"{run.onnx_model('teacher', 'int8')}: INT8 loses 100.00 percentage points",
        f"{run.onnx_model('student', 'int8')}: INT8 loses 100.00 percentage points",
        "(100.00 % → 0.00 % of 24 images), allowed is 1 (quantize.max_drop)",
        "--set quantize.calibration_images=24",
        "--set quantize.max_drop=100",
        "float32",
    ):
        assert part in str(caught.value)
    assert names(run) == EXPORTED

    monkeypatch.setattr("kdtool.results.health.FEWEST", 20)
    with pytest.raises(GateError, match="It is of no use: it"):
        quantize_models(run, prepared, QUANTIZE.model_copy(update={"max_drop": 100.0}), QUIET)
    assert names(run) == EXPORTED, "a model of no use is not written, whatever loss is allowed"


def test_a_teacher_that_fails_the_gate_is_a_note(
    copy: tuple[RunFolder, Prepared], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, prepared = copy
    monkeypatch.setattr("kdtool.quant.maker.quantize_to_int8", collapsing("teacher"))
    ear = Recorder()
    quantize_models(run, prepared, QUANTIZE, ear)
    assert any("teacher.int8.onnx: INT8 loses 100.00" in text for text in ear.said)
    assert names(run) == sorted([*EXPORTED, "student.int8.onnx", "quantize.student.manifest.json"])


def test_a_gate_that_the_student_fails_does_not_cost_the_teacher(
    copy: tuple[RunFolder, Prepared], monkeypatch: pytest.MonkeyPatch
) -> None:
    failing, other = "student", "teacher"
    run, prepared = copy
    monkeypatch.setattr("kdtool.quant.maker.quantize_to_int8", collapsing(failing))
    with pytest.raises(GateError) as caught:
        quantize_models(run, prepared, QUANTIZE, QUIET)

    assert f"{failing}.int8.onnx" in caught.value.message
    assert f"{other}.int8.onnx" not in caught.value.message
    assert names(run) == sorted([*EXPORTED, f"{other}.int8.onnx", f"quantize.{other}.manifest.json"])
    assert (other, "int8") in sealed_models(run)

    ear = Recorder()
    with pytest.raises(GateError):
        quantize_models(run, prepared, QUANTIZE, ear)
    assert f"quantize: {other}: complete, skipped" in ear.said


def test_an_export_made_again_takes_its_int8_model_along(
    copy: tuple[RunFolder, Prepared], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, prepared = copy
    monkeypatch.setattr("kdtool.quant.maker.quantize_to_int8", collapsing())
    quantize_models(run, prepared, QUANTIZE, QUIET)
    assert len(sealed_models(run)) == 4
    answer = run.onnx_model("student").read_bytes()
    monkeypatch.setattr(
        "kdtool.exporters.model.export_network", lambda *_: onnx.load_model_from_string(answer)
    )
    monkeypatch.setattr("kdtool.exporters.model.simplify", lambda payload, _: payload)
    run.export_manifest("student").unlink()
    export_models(run, prepared, EXPORT, QUIET)

    assert sealed_models(run) == (("teacher", "fp32"), ("student", "fp32"), ("teacher", "int8"))
    assert not run.quantize_manifest("student").exists()


def test_a_role_that_is_trained_and_not_exported_is_not_passed_over(copy: tuple[RunFolder, Prepared]) -> None:
    run, prepared = copy
    for path in (run.onnx_model("student"), run.export_manifest("student")):
        path.unlink()
    with pytest.raises(UsageError, match="no complete export of student to quantize") as caught:
        quantize_models(run, prepared, QUANTIZE, QUIET)
    assert caught.value.hint == f"Export first: kdtool export --onnx {run.path}"


def test_a_run_without_exports_is_a_usage_error(
    exported: tuple[RunFolder, Prepared, Recorder], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="neither teacher nor student is exported"):
        quantize_models(RunFolder(tmp_path), exported[1], QUANTIZE, QUIET)


def test_bench_refuses_an_int8_model_of_an_older_export(
    copy: tuple[RunFolder, Prepared], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, prepared = copy
    monkeypatch.setattr("kdtool.quant.maker.quantize_to_int8", collapsing())
    quantize_models(run, prepared, QUANTIZE, QUIET)
    run.onnx_model("teacher").write_bytes(run.onnx_model("student").read_bytes())
    with pytest.raises(UsageError, match=r"teacher\.int8\.onnx was made from.*\n.*kdtool quantize "):
        bench_run(run, prepared, BENCH, QUIET)


def test_bench_leaves_out_what_no_manifest_vouches_for(copy: tuple[RunFolder, Prepared]) -> None:
    run, _ = copy
    run.export_manifest("student").unlink()
    ear = Recorder()
    result = bench_run(run, None, BENCH, ear)
    assert [model.name for model in result.models] == ["teacher"]
    assert sum(str(run.onnx_model("student")) in line for line in ear.warned) == 1


def test_a_kill_anywhere_in_quantization_changes_nothing_in_the_end(
    copy: tuple[RunFolder, Prepared], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, prepared = copy
    monkeypatch.setattr("kdtool.quant.maker.quantize_to_int8", collapsing())
    monkeypatch.setattr("kdtool.quant.attempt.observe", lambda *_: {})
    speed = Speed(2.0, 1.9, 2.1, 64, 1, "a machine")
    monkeypatch.setattr("kdtool.quant.stage.speed_of_file", lambda *_: speed)
    monkeypatch.setattr("kdtool.quant.maker.top1", lambda *_: Accuracy(24, 24))

    def work() -> None:
        quantize_models(run, prepared, QUANTIZE, QUIET)

    ends = killed_and_done_again(run, work, monkeypatch)

    assert len(contents(run)) == 8
    assert len(ends) == 8
    assert all(end == contents(run) for end in ends)


def test_what_a_killed_quantizer_leaves_is_swept_away(
    copy: tuple[RunFolder, Prepared], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that the quantizer writes, in its own temporary folder too, lies where the sweep goes."""
    run, prepared = copy
    littered = run.path.with_name("littered")

    def killed(source: Path, target: Path, *_: object, **__: object) -> None:
        for folder in (source.parent, target.parent, Path(tempfile.mkdtemp())):
            (folder / "litter.onnx").write_bytes(b"half")
        shutil.copytree(run.path, littered)  # as it is when the process dies
        raise Kill

    monkeypatch.setattr("kdtool.quant.int8.quantize_static", killed)
    with pytest.raises(Kill):
        quantize_models(run, prepared, QUANTIZE, QUIET)
    assert names(run) == EXPORTED

    assert len(list(littered.rglob("litter.onnx"))) == 2
    with run_lock(littered):
        assert names(RunFolder(littered)) == EXPORTED


def test_the_settings_are_honoured(copy: tuple[RunFolder, Prepared]) -> None:
    run, prepared = copy
    quantize_models(
        run, prepared, QUANTIZE.model_copy(update={"calibration_images": 5, "reduce_range": True}), QUIET
    )
    path = run.onnx_model("teacher", "int8")
    info = open_model(path).info
    assert info is not None
    assert info.notes["calibration"].endswith("over 5 training images")
    assert "7 bits" in info.notes["quantization"]
    weights = [
        numpy_helper.to_array(t)
        for t in onnx.load(path).graph.initializer
        if t.data_type == 3 and len(t.dims) == 4
    ]
    assert len(weights) == 20
    assert max(np.abs(weight.astype(int)).max() for weight in weights) <= 64


@pytest.mark.parametrize("target", SCHEMES)
def test_every_target_has_a_working_scheme(
    copy: tuple[RunFolder, Prepared], monkeypatch: pytest.MonkeyPatch, target: Int8Target
) -> None:
    run, prepared = copy
    settings, ear = QUANTIZE.model_copy(update={"max_drop": 10.0, "target": target}), Recorder()
    facts = quantize_models(run, prepared, settings, ear).facts

    scheme = SCHEMES[target]
    assert ear.said[0] == f"quantize: for {target}: {scheme} ({scheme.reason})"
    foreign = [line for line in ear.warned if f"made for {target}, this machine is" in line]
    assert bool(foreign) == (target != int8_target())

    assert facts["student"]["recipe"]["target"] == target
    model = onnx.load(run.onnx_model("student", "int8"))
    zero_point = next(n.input[2] for n in model.graph.node if n.op_type == "QuantizeLinear")
    tensor = next(t for t in model.graph.initializer if t.name == zero_point)
    assert tensor.data_type == getattr(onnx.TensorProto, scheme.activation.upper())


def test_quantizing_wants_an_intact_export(copy: tuple[RunFolder, Prepared]) -> None:
    run, prepared = copy
    content = bytearray(run.onnx_model("student").read_bytes())
    content[1000] ^= 1
    run.onnx_model("student").write_bytes(content)
    with pytest.raises(UsageError, match="no complete export of student to quantize"):
        quantize_models(run, prepared, QUANTIZE, QUIET)
    shutil.rmtree(run.onnx)
    with pytest.raises(UsageError, match="no complete export of teacher and student"):
        quantize_models(run, prepared, QUANTIZE, QUIET)


def test_a_graph_the_quantizer_refuses_is_an_error_in_words(
    copy: tuple[RunFolder, Prepared], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("unknown shape\nand a page of details")

    monkeypatch.setattr("kdtool.quant.int8.quantize_static", refuse)
    run, prepared = copy
    with pytest.raises(
        ModelFileError, match=r"teacher\.onnx: ONNX Runtime cannot quantize it \(RuntimeError: unknown"
    ):
        quantize_models(run, prepared, QUANTIZE, QUIET)
    assert names(run) == EXPORTED


def test_a_full_disk_is_an_error_of_the_surroundings(
    copy: tuple[RunFolder, Prepared], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("kdtool.quant.int8.quantize_static", full)
    run, prepared = copy
    with pytest.raises(SetupError, match="No space left on device"):
        quantize_models(run, prepared, QUANTIZE, QUIET)
    assert names(run) == EXPORTED
