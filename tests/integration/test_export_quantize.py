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
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper

from kdtool.arch.network import build, load_network, parameter_count, save_network
from kdtool.core.errors import GateError, ModelFileError, SetupError, UsageError
from kdtool.core.files import sha256_bytes, sha256_file
from kdtool.core.modelinfo import METADATA_KEY, ModelInfo
from kdtool.core.onnxfile import onnx_bytes
from kdtool.core.preprocess import Preprocess
from kdtool.core.recipe import ExportSettings, QuantizeSettings
from kdtool.core.run import RunFolder
from kdtool.core.screen import QUIET, Quiet
from kdtool.data.reader import Prepared, pixels_file
from kdtool.export.simplify import simplify
from kdtool.export.stage import export_models
from kdtool.quant.stage import quantize_models
from kdtool.quant.target import TARGETS
from kdtool.runtime.onnxruntime import open_model

SIZE = 40  # the last feature map is 2 × 2, so that the global pool is not empty work
CLASSES = ("größe", "b", "c")
PREPROCESS = Preprocess(SIZE, SIZE, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
COUNTS = {"train": 30, "validation": 24, "test": 3}
EXPORT = ExportSettings()
QUANTIZE = QuantizeSettings(calibration_images=12)
CHILD = """
import sys
from pathlib import Path
import onnx
from kdtool.arch.network import load_network
from kdtool.core.files import sha256_bytes
from kdtool.core.onnxfile import onnx_bytes
from kdtool.export.onnx import export_network
from kdtool.export.simplify import simplify
network, info = load_network(Path(sys.argv[1]))
raw = onnx_bytes(export_network(network, info.arch, info.preprocess.size, int(sys.argv[2])), info)
print(sha256_bytes(onnx_bytes(onnx.load_model_from_string(simplify(raw, info)))))
"""


class Ear(Quiet):
    """A screen that remembers."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.warned: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def warn(self, text: str) -> None:
        self.warned.append(text)


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
    (path / "manifest.json").write_text("{}")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunFolder, Prepared, Ear]]:
    """A run after `kdtool export --onnx`; tests that change it take a copy."""
    run = RunFolder(tmp_path_factory.mktemp("run"))
    prepared = prepare(run.data)
    train(run.role("teacher"), "teacher", 0)
    train(run.role("student"), "student", 1)
    ear = Ear()
    export_models(run, prepared, EXPORT, ear)
    yield run, prepared, ear


@pytest.fixture
def copy(exported: tuple[RunFolder, Prepared, Ear], tmp_path: Path) -> tuple[RunFolder, Prepared]:
    run, prepared, _ = exported
    shutil.copytree(run.path, tmp_path / "run")
    return RunFolder(tmp_path / "run"), prepared


@pytest.fixture
def unexported(
    copy: tuple[RunFolder, Prepared], monkeypatch: pytest.MonkeyPatch
) -> tuple[RunFolder, Prepared]:
    """As `copy`, before export; exporter and onnxsim answer what they answered before, to save seconds."""
    run, prepared = copy
    finished = {role: run.onnx_model(role).read_bytes() for role in ("teacher", "student")}
    shutil.rmtree(run.onnx)
    answers = iter(finished.values())
    monkeypatch.setattr(
        "kdtool.export.model.export_network", lambda *_: onnx.load_model_from_string(next(answers))
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


def test_each_network_is_one_file_that_says_what_it_is(exported: tuple[RunFolder, Prepared, Ear]) -> None:
    run, _, ear = exported
    assert names(run) == ["export.manifest.json", "student.onnx", "teacher.onnx"]
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


def test_no_path_of_this_machine_is_in_the_file(exported: tuple[RunFolder, Prepared, Ear]) -> None:
    run, _, _ = exported
    content = run.onnx_model("teacher").read_bytes()
    for secret in (str(Path(torch.__file__).parent), str(Path.home()), str(run.path), "stack_trace"):
        assert secret.encode() not in content


def test_the_manifest_holds_the_figures(exported: tuple[RunFolder, Prepared, Ear]) -> None:
    run, prepared, _ = exported
    ear = Ear()
    facts = export_models(run, without_test(prepared), EXPORT, ear)

    assert ear.said == ["export: complete, skipped"]
    for role, fact in facts.items():
        assert fact["macs"] == fact["thop_macs"]
        assert fact["size_bytes"] == run.onnx_model(role).stat().st_size
        assert fact["simplified"] is True
        for kind in ("raw", "simplified"):
            assert set(fact["parity"][kind]) == {"1", "2", "7"}
            assert max(fact["parity"][kind].values()) <= EXPORT.tolerance


def test_another_process_writes_the_same_bytes(exported: tuple[RunFolder, Prepared, Ear]) -> None:
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

    assert names(run) == ["export.manifest.json", "student.onnx", "teacher.onnx"]
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


@pytest.mark.parametrize("code", ["import os; os.abort()", "print('nonsense')"])
def test_a_crash_of_onnxsim_keeps_the_raw_export_and_warns(
    unexported: tuple[RunFolder, Prepared], monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    run, prepared = unexported
    child = functools.partial(simplify, command=(sys.executable, "-c", code))
    monkeypatch.setattr("kdtool.export.model.simplify", child)
    ear = Ear()
    facts = export_models(run, prepared, EXPORT, ear)

    assert [line.count("not simplified, the raw export is kept (onnxsim") for line in ear.warned] == [1, 1]
    assert not facts["teacher"]["simplified"]
    assert set(facts["teacher"]["parity"]) == {"raw"}
    assert open_model(run.onnx_model("teacher")).info is not None
    assert names(run) == ["export.manifest.json", "student.onnx", "teacher.onnx"]


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
    ear = Ear()
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
    ear = Ear()
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
    assert names(run) == []


def test_a_run_without_networks_is_a_usage_error(
    exported: tuple[RunFolder, Prepared, Ear], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="no trained network"):
        export_models(RunFolder(tmp_path), exported[1], EXPORT, QUIET)


# ---------------------------------------------------------------- quantize


def test_int8_keeps_the_accuracy_and_says_so(copy: tuple[RunFolder, Prepared], tmp_path: Path) -> None:
    run, prepared = copy
    ear = Ear()
    facts = quantize_models(run, without_test(prepared), QUANTIZE, ear)

    assert names(run) == [
        "export.manifest.json",
        "quantize.manifest.json",
        "student.int8.onnx",
        "student.onnx",
        "teacher.int8.onnx",
        "teacher.onnx",
    ]
    assert ear.said[0].startswith("quantize: ")
    for role, line in zip(("teacher", "student"), ear.said[1:], strict=True):
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
        assert info.notes["calibration"] == "minimum and maximum over 12 training images"
        assert facts[role]["size_bytes"] < 0.3 * run.onnx_model(role).stat().st_size

    again = Ear()
    first = sha256_file(run.onnx_model("teacher", "int8"))
    assert quantize_models(run, prepared, QUANTIZE, again) == facts
    assert again.said == ["quantize: complete, skipped"]
    (run.onnx / "quantize.manifest.json").unlink()
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


def test_a_collapse_stops_at_the_gate_and_leaves_nothing(
    copy: tuple[RunFolder, Prepared], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, prepared = copy

    def collapse(source: Path, *_: object) -> onnx.ModelProto:
        model = onnx.load(source)
        for tensor in model.graph.initializer:
            if tensor.dims and tensor.dims[0] == len(CLASSES):  # the head: the best becomes the worst
                tensor.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(tensor), tensor.name))
        return model

    monkeypatch.setattr("kdtool.quant.stage.quantize_to_int8", collapse)
    with pytest.raises(GateError) as caught:
        quantize_models(run, prepared, QUANTIZE, QUIET)

    assert caught.value.exit_code == 6
    for part in (
        f"{run.onnx_model('teacher', 'int8')}: INT8 loses 100.00 points",
        "(100.00 % → 0.00 % of 24 images), allowed is 1 (quantize.max_drop)",
        "--set quantize.calibration_images=24",
        "--set quantize.max_drop=100",
        "float32",
    ):
        assert part in str(caught.value)
    assert names(run) == ["export.manifest.json", "student.onnx", "teacher.onnx"]

    quantize_models(run, prepared, QUANTIZE.model_copy(update={"max_drop": 100.0}), QUIET)
    assert run.onnx_model("teacher", "int8").is_file()


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
    monkeypatch.setattr("kdtool.quant.stage.host_target", lambda: target)
    facts = quantize_models(run, prepared, QUANTIZE.model_copy(update={"max_drop": 10.0}), QUIET)

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
    with pytest.raises(UsageError, match="Export first: kdtool export --onnx"):
        quantize_models(run, prepared, QUANTIZE, QUIET)
    shutil.rmtree(run.onnx)
    with pytest.raises(UsageError, match="no complete export"):
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
    assert names(run) == ["export.manifest.json", "student.onnx", "teacher.onnx"]


def test_a_full_disk_is_an_error_of_the_surroundings(
    copy: tuple[RunFolder, Prepared], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("kdtool.quant.int8.quantize_static", full)
    run, prepared = copy
    with pytest.raises(SetupError, match="No space left on device"):
        quantize_models(run, prepared, QUANTIZE, QUIET)
    assert names(run) == ["export.manifest.json", "student.onnx", "teacher.onnx"]
