"""Export and INT8 on a tiny run: two networks that really classify, through both gates."""

from __future__ import annotations

import csv
import errno
import functools
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper

from kdtool.arch.network import build, load_network, parameter_count, save_network
from kdtool.bench.stage import bench_run
from kdtool.core import files
from kdtool.core.cpu import int8_target
from kdtool.core.errors import GateError, ModelFileError, SetupError, UsageError
from kdtool.core.files import sha256_bytes, sha256_file
from kdtool.core.lock import run_lock
from kdtool.core.manifest import Stage
from kdtool.core.modelinfo import METADATA_KEY, ModelInfo
from kdtool.core.models import sealed_models
from kdtool.core.preprocess import Preprocess
from kdtool.core.recipe import BenchSettings, ExportSettings, QuantizeSettings
from kdtool.core.run import RunFolder
from kdtool.core.screen import QUIET
from kdtool.data.reader import Prepared, pixels_file
from kdtool.export.simplify import simplify
from kdtool.export.stage import export_models
from kdtool.graph.onnxfile import onnx_bytes
from kdtool.quant.accuracy import Accuracy
from kdtool.quant.speed import Speed
from kdtool.quant.stage import quantize_models
from kdtool.quant.target import TARGETS
from kdtool.runtime.onnxruntime import open_model
from screens import Recorder

SIZE = 40  # the last feature map is 2 × 2, so that the global pool is not empty work
CLASSES = ("größe", "b", "c")
PREPROCESS = Preprocess(SIZE, SIZE, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
COUNTS = {"train": 30, "validation": 24, "test": 3}
EXPORTED = [
    *(f"export.{role}.manifest.json" for role in ("student", "teacher")),
    "student.onnx",
    "teacher.onnx",
]
EXPORT = ExportSettings()
BENCH = BenchSettings(runs=64, warmup=1, threads=1, resamples=1000)
QUANTIZE = QuantizeSettings(calibration_images=12, float_layers=0)  # those: test_quantize_options.py
CHILD = """
import sys
from pathlib import Path
import onnx
from kdtool.arch.network import load_network
from kdtool.core.files import sha256_bytes
from kdtool.graph.onnxfile import onnx_bytes
from kdtool.export.onnx import export_network
from kdtool.export.simplify import simplify
network, info = load_network(Path(sys.argv[1]))
raw = onnx_bytes(export_network(network, info.arch, info.preprocess.size, int(sys.argv[2])), info)
print(sha256_bytes(onnx_bytes(onnx.load_model_from_string(simplify(raw, info)))))
"""


def pictures(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Noise around one colour a class: (N, S, S, 3) uint8 and labels."""
    rng = np.random.default_rng(len(split))
    labels = np.arange(COUNTS[split]) % len(CLASSES)
    colours = np.eye(3)[labels] * 120 + 60
    return np.clip(colours[:, None, None] + rng.normal(0, 25, (len(labels), SIZE, SIZE, 3)), 0, 255).astype(
        np.uint8
    ), labels


def prepare(folder: Path) -> Prepared:
    folder.mkdir(parents=True)
    with (folder / "samples.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("split", "index", "path", "label", "sha256"))
        for split in COUNTS:
            pixels, labels = pictures(split)
            np.save(folder / pixels_file(split), pixels)
            for index, label in enumerate(labels):
                writer.writerow((split, index, f"{split}/{index}.png", CLASSES[label], ""))
    return Prepared(folder, CLASSES, PREPROCESS, hashlib.sha256(b"tiny").hexdigest(), COUNTS)


def train(path: Path, role: str, seed: int) -> None:
    """A random ResNet18 whose head is solved by least squares: it classifies, without training."""
    torch.manual_seed(seed)
    network = build("resnet18", len(CLASSES), SIZE).eval()
    pixels, labels = pictures("train")
    images = torch.from_numpy(PREPROCESS.normalize(pixels))
    head = network.get_submodule("fc")
    assert isinstance(head, torch.nn.Linear)
    with torch.no_grad():
        features = torch.nn.Sequential(*list(network.children())[:-1])(images).flatten(1)
        wanted = 4 * torch.eye(len(CLASSES))[torch.from_numpy(labels)]
        centre = features.mean(0)
        solution = torch.linalg.pinv(features - centre, rtol=1e-2) @ (wanted - wanted.mean(0))
        head.weight.copy_(solution.T)
        head.bias.copy_(wanted.mean(0) - centre @ solution)
    path.mkdir(parents=True)
    save_network(
        path / "model.safetensors", network.state_dict(), ModelInfo(role, "resnet18", CLASSES, PREPROCESS)
    )
    Stage("train", path, {"seed": seed}).seal(["model.safetensors"], {}, {})


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunFolder, Prepared, Recorder]]:
    """A run after `kdtool export --onnx`; tests that change it take a copy."""
    run = RunFolder(tmp_path_factory.mktemp("run"))
    prepared = prepare(run.data)
    train(run.role("teacher"), "teacher", 0)
    train(run.role("student"), "student", 1)
    ear = Recorder()
    export_models(run, prepared, EXPORT, ear)
    yield run, prepared, ear


@pytest.fixture
def copy(exported: tuple[RunFolder, Prepared, Recorder], tmp_path: Path) -> tuple[RunFolder, Prepared]:
    run, prepared, _ = exported
    shutil.copytree(run.path, tmp_path / "run")
    return RunFolder(tmp_path / "run"), prepared


def head_of(network: torch.nn.Module) -> bytes:
    return network.get_submodule("fc").get_parameter("weight").detach().numpy().tobytes()


@pytest.fixture
def unexported(
    copy: tuple[RunFolder, Prepared], monkeypatch: pytest.MonkeyPatch
) -> tuple[RunFolder, Prepared]:
    """As `copy`, before export; exporter and onnxsim answer what they answered before, to save seconds."""
    run, prepared = copy
    answers = {
        head_of(load_network(run.weights(role))[0]): run.onnx_model(role).read_bytes()
        for role in ("teacher", "student")
    }
    shutil.rmtree(run.onnx)
    monkeypatch.setattr(
        "kdtool.export.model.export_network",
        lambda network, *_: onnx.load_model_from_string(answers[head_of(network)]),
    )
    monkeypatch.setattr("kdtool.export.model.simplify", lambda payload, _: payload)
    return run, prepared


def names(run: RunFolder) -> list[str]:
    return sorted(path.name for path in run.onnx.iterdir()) if run.onnx.is_dir() else []


def without_test(prepared: Prepared) -> Prepared:
    """The same data, with the test split out of reach."""
    (prepared.folder / pixels_file("test")).unlink(missing_ok=True)
    return prepared


# ---------------------------------------------------------------- export


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

    export_models(run, prepared, EXPORT, QUIET)

    assert names(run) == EXPORTED
    assert open_model(run.onnx_model("teacher")).info is not None


def test_a_wrong_export_stops_at_the_gate_and_leaves_nothing(
    unexported: tuple[RunFolder, Prepared], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, prepared = unexported
    from kdtool.export import model as module

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
    monkeypatch.setattr("kdtool.export.model.thop_macs", lambda *_: 0)
    settings = EXPORT.model_copy(update={"uint8": True, "ort": True, "fixed_batch": True})
    facts = export_models(run, prepared, settings, QUIET)

    ends = (".onnx", ".uint8.onnx", ".ort", ".required_operators.config")
    files = [f"{role}{end}" for role in ("teacher", "student") for end in ends]
    assert names(run) == sorted([*files, *(name for name in EXPORTED if name.endswith(".json"))])
    assert set(facts["student"]["parity"]) == {"raw", "simplified", "uint8", "ort"}
    assert open_model(run.onnx_model("student")).input_shape == (1, 3, SIZE, SIZE)

    def wrong(content: bytes, *_: object) -> None:
        raise GateError("the answers differ")

    monkeypatch.setattr("kdtool.export.variants.open_ort", wrong)
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
    monkeypatch.setattr("kdtool.export.model.simplify", child)
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

    monkeypatch.setattr("kdtool.export.model.simplify", wrong)
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
    monkeypatch.setattr("kdtool.export.model.thop_macs", lambda *_: 1000)
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
    monkeypatch.setattr("kdtool.export.model.export_network", lambda *_: onnx.load_model_from_string(answer))
    monkeypatch.setattr("kdtool.export.model.simplify", lambda payload, _: payload)
    ear = Recorder()
    facts = export_models(run, prepared, EXPORT, ear)

    assert list(facts) == ["teacher", "student", "baseline"]
    assert ear.said[:2] == [f"export: {role}: complete, skipped" for role in ("teacher", "student")]
    assert ear.said[2].startswith(f"export: {run.onnx_model('baseline')}, ")
    assert names(run) == sorted([*EXPORTED, "baseline.onnx", "export.baseline.manifest.json"])


def replace_teacher(run: RunFolder) -> None:
    """A teacher taught anew beside a student, soft labels and exports of the old one."""
    run.soft_labels.mkdir()
    Stage("label", run.soft_labels, {"teacher": sha256_file(run.weights("teacher"))}).seal([], {}, {})
    shutil.rmtree(run.role("teacher"))
    train(run.role("teacher"), "teacher", 2)


def test_a_new_teacher_is_not_paired_with_an_old_student(copy: tuple[RunFolder, Prepared]) -> None:
    run, prepared = copy
    replace_teacher(run)
    with pytest.raises(UsageError, match=r"learnt from another teacher.*\n.*kdtool distill --out"):
        export_models(run, prepared, EXPORT, QUIET)
    with pytest.raises(UsageError, match=r"teacher\.onnx was made from other weights"):
        quantize_models(run, prepared, QUANTIZE, QUIET)
    with pytest.raises(UsageError, match=r"teacher\.onnx was made from other weights"):
        bench_run(run, None, BENCH, QUIET)
    assert names(run) == EXPORTED


class Kill(BaseException):
    """What no handler of errors catches."""


def killed_and_done_again(
    run: RunFolder, work: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> list[dict[str, str]]:
    """What lies in the folder after `work` was killed at its first, second, … fsync and then done again."""
    before = run.path.with_name("before")
    run.onnx.mkdir(exist_ok=True)
    shutil.copytree(run.onnx, before)
    ends: list[dict[str, str]] = []
    while True:
        shutil.rmtree(run.onnx)
        shutil.copytree(before, run.onnx)
        granted = iter(range(len(ends)))

        def fsync(_: Path, granted: Iterator[int] = granted) -> None:
            if next(granted, None) is None:
                raise Kill

        with monkeypatch.context() as patch:
            patch.setattr(files, "_fsync", fsync)
            try:
                work()
            except Kill:
                pass
            else:
                return ends
        for model in sealed_models(run):  # what a bench would take now is whole
            assert open_model(run.onnx_model(*model)).info is not None
        work()
        ends.append(contents(run))


def contents(run: RunFolder) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in sorted(run.onnx.iterdir())}


def test_a_kill_anywhere_in_export_changes_nothing_in_the_end(
    unexported: tuple[RunFolder, Prepared], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, prepared = unexported
    monkeypatch.setattr("kdtool.export.model.thop_macs", lambda *_: 0)

    def work() -> None:
        export_models(run, prepared, EXPORT, QUIET)

    ends = killed_and_done_again(run, work, monkeypatch)

    assert list(contents(run)) == EXPORTED
    assert len(ends) == 8  # of each role a model and a manifest, of each the file and its folder
    assert all(end == contents(run) for end in ends)


# ---------------------------------------------------------------- quantize


def test_int8_keeps_the_accuracy_and_says_so(copy: tuple[RunFolder, Prepared], tmp_path: Path) -> None:
    run, prepared = copy
    ear = Recorder()
    facts = quantize_models(run, without_test(prepared), QUANTIZE, ear)

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
        assert "validation accuracy 100.00 % → 100.00 % (+0.00 points, 24 images)" in line
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
        assert info.notes["target"] in TARGETS
        assert info.notes["calibration"] == "minmax over 12 training images"
        assert facts[role]["size_bytes"] < 0.3 * run.onnx_model(role).stat().st_size

    again = Recorder()
    first = sha256_file(run.onnx_model("teacher", "int8"))
    assert quantize_models(run, prepared, QUANTIZE, again) == facts
    for role in ("teacher", "student"):
        assert f"quantize: {role}: complete, skipped" in again.said
    run.quantize_manifest("teacher").unlink()
    quantize_models(run, prepared, QUANTIZE, QUIET)
    assert sha256_file(run.onnx_model("teacher", "int8")) == first


def test_every_layer_runs_in_integers(copy: tuple[RunFolder, Prepared], tmp_path: Path) -> None:
    run, prepared = copy
    quantize_models(run, prepared, QUANTIZE, QUIET)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(
        str(run.onnx_model("student", "int8")), options, providers=["CPUExecutionProvider"]
    )
    operators = Counter(node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node)

    assert operators["QLinearConv"] == 20
    assert operators["QLinearAdd"] == 8  # the residual connections
    assert operators["QLinearGlobalAveragePool"] == operators["QGemm"] == 1
    assert not {"Conv", "FusedConv", "Add", "Gemm", "ReduceMean", "GlobalAveragePool"} & set(operators)


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
        f"{run.onnx_model('teacher', 'int8')}: INT8 loses 100.00 points",
        f"{run.onnx_model('student', 'int8')}: INT8 loses 100.00 points",
        "(100.00 % → 0.00 % of 24 images), allowed is 1 (quantize.max_drop)",
        "--set quantize.calibration_images=24",
        "--set quantize.max_drop=100",
        "float32",
    ):
        assert part in str(caught.value)
    assert names(run) == EXPORTED

    quantize_models(run, prepared, QUANTIZE.model_copy(update={"max_drop": 100.0}), QUIET)
    assert run.onnx_model("teacher", "int8").is_file()


@pytest.mark.parametrize(("failing", "other"), [("teacher", "student"), ("student", "teacher")])
def test_a_gate_that_one_model_fails_does_not_cost_the_other(
    copy: tuple[RunFolder, Prepared], monkeypatch: pytest.MonkeyPatch, failing: str, other: str
) -> None:
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
    monkeypatch.setattr("kdtool.export.model.export_network", lambda *_: onnx.load_model_from_string(answer))
    monkeypatch.setattr("kdtool.export.model.simplify", lambda payload, _: payload)
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
    monkeypatch.setattr("kdtool.quant.stage.observe", lambda *_: {})
    monkeypatch.setattr("kdtool.quant.stage._speed", lambda *_: Speed(2.0, 1.9, 2.1, 64, 1))
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


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_has_a_working_recipe(
    copy: tuple[RunFolder, Prepared], monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    run, prepared = copy
    settings, ear = QUANTIZE.model_copy(update={"max_drop": 10.0, "target": target}), Recorder()
    facts = quantize_models(run, prepared, settings, ear)

    recipe = TARGETS[target]
    assert ear.said[0] == f"quantize: for {target}: {recipe} ({recipe.reason})"
    foreign = [line for line in ear.warned if f"made for {target}, this machine is" in line]
    assert bool(foreign) == (target != int8_target())

    assert facts["student"]["recipe"]["target"] == target
    model = onnx.load(run.onnx_model("student", "int8"))
    zero_point = next(n.input[2] for n in model.graph.node if n.op_type == "QuantizeLinear")
    tensor = next(t for t in model.graph.initializer if t.name == zero_point)
    assert tensor.data_type == getattr(onnx.TensorProto, TARGETS[target].activation.upper())
    if TARGETS[target].symmetric:
        assert numpy_helper.to_array(tensor) == 0


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
