"""Search, layers kept in FP32 and the word on speed, on a network of two convolutions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fixtures.images import write_prepared
from fixtures.screens import Recorder
from kdtool.core.errors import GateError
from kdtool.core.modelinfo import ModelInfo
from kdtool.core.preprocess import Preprocess
from kdtool.core.screen import QUIET
from kdtool.data.reader import Prepared
from kdtool.graph.onnxfile import onnx_bytes
from kdtool.machine.cpu import int8_target
from kdtool.quant.images import CalibrationImages
from kdtool.quant.maker import Choice, Maker
from kdtool.quant.observe import observe
from kdtool.quant.search import variations
from kdtool.quant.sensitivity import rank_layers
from kdtool.quant.speed import this_machine
from kdtool.quant.stage import quantize_finetuned, quantize_models
from kdtool.quant.target import SCHEMES, int8_scheme
from kdtool.recipe.choices import Calibration, Int8Target
from kdtool.recipe.settings import QuantizeSettings
from kdtool.runs.folder import RunFolder
from kdtool.runs.stage import Stage
from kdtool.runtime.onnxruntime import open_model

SIZE, WIDTH = 8, 8
CLASSES = ("red", "green", "blue")
PREPROCESS = Preprocess(SIZE, SIZE, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
COUNTS = {"train": 24, "validation": 18, "test": 3}
FAULTY, HUGE = "second", 1e5
SETTINGS = QuantizeSettings(calibration_images=12)


def graph_of(faulty: bool) -> onnx.ModelProto:
    """A colour in, its class out. Faulty: a weight that no activation ever meets takes all the levels.

    The first convolution's last channel is always 0 after ReLU; the second's weights on it are huge.
    """
    rng = np.random.default_rng(0)
    first = 0.1 * rng.normal(size=(WIDTH, 3, 1, 1))
    first[:3, :, 0, 0] = np.eye(3)
    bias = np.full(WIDTH, 2.0)
    first[-1], bias[-1] = 0.1, -2.0
    second = 0.05 * rng.normal(size=(WIDTH, WIDTH, 1, 1))
    second[np.arange(WIDTH), np.arange(WIDTH)] += 1
    second[:, -1] = HUGE if faulty else 0.0
    head = np.zeros((3, WIDTH))
    head[:, :3] = np.eye(3)
    weights = {"w1": first, "b1": bias, "w2": second, "b2": np.zeros(WIDTH), "w3": head, "b3": np.zeros(3)}
    nodes = [
        helper.make_node("Conv", ["images", "w1", "b1"], ["c1"], name="first"),
        helper.make_node("Relu", ["c1"], ["r1"], name="relu1"),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], name="second"),
        helper.make_node("Relu", ["c2"], ["r2"], name="relu2"),
        helper.make_node("GlobalAveragePool", ["r2"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["f"], name="flatten"),
        helper.make_node("Gemm", ["f", "w3", "b3"], ["logits"], name="head", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])


def transformer() -> onnx.ModelProto:
    """A colour in, its class out; in its product of two activations one value leaves no levels to the others.

    As in a transformer, which layer normalization tells it for, products alone are quantized.
    """
    weights = {
        "w1": np.eye(3), "w2": np.eye(3), "huge": np.float32(HUGE), "one": np.ones(3), "zero": np.zeros(3),
    }  # fmt: skip
    integers = {
        "last": [2],
        "sides": [1, 2],
        "pad": [0, 0, 0, 0, 1, 0],
        "begin": [0],
        "end": [3],
        "axis": [1],
    }
    nodes = [
        helper.make_node("GlobalAveragePool", ["images"], ["g"], name="pool"),
        helper.make_node("Flatten", ["g"], ["p"], name="flatten"),
        helper.make_node("MatMul", ["p", "w1"], ["e"], name="embed"),
        helper.make_node("Unsqueeze", ["e", "last"], ["q"], name="query"),
        helper.make_node("Pad", ["q", "pad", "huge"], ["qh"], name="outlier"),
        helper.make_node("ReduceMax", ["q", "sides"], ["k"], name="key", keepdims=1),
        helper.make_node("MatMul", ["qh", "k"], ["s"], name="scores"),
        helper.make_node("Slice", ["s", "begin", "end", "axis"], ["t"], name="cut"),
        helper.make_node("Flatten", ["t"], ["f"], name="flat"),
        helper.make_node("LayerNormalization", ["f", "one", "zero"], ["n"], name="norm"),
        helper.make_node("MatMul", ["n", "w2"], ["logits"], name="head"),
    ]
    constants = [
        numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in weights.items()
    ]
    constants += [numpy_helper.from_array(np.array(value), name) for name, value in integers.items()]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])


def export(run: RunFolder, model: onnx.ModelProto) -> None:
    """`model` as the run's student."""
    info = ModelInfo("student", "resnet18", CLASSES, PREPROCESS)
    path, manifest = run.onnx_model("student"), run.export_manifest("student")
    path.write_bytes(onnx_bytes(model, info))
    Stage("export", run.onnx, {}, manifest.name).seal([path.name], {}, {})


@pytest.fixture
def run_of(tmp_path: Path) -> Callable[[bool], tuple[RunFolder, Prepared]]:
    """A run that holds an exported student and its data alone."""

    def make(faulty: bool) -> tuple[RunFolder, Prepared]:
        run = RunFolder(tmp_path / "run")
        prepared = write_prepared(run.data, CLASSES, PREPROCESS, COUNTS)
        run.onnx.mkdir()
        export(run, graph_of(faulty))
        return run, prepared

    return make


def names(run: RunFolder) -> list[str]:
    return sorted(path.name for path in run.onnx.iterdir())


Make = Callable[[bool], tuple[RunFolder, Prepared]]


def test_the_layer_at_fault_is_kept_in_fp32(run_of: Make) -> None:
    run, prepared = run_of(True)
    ear = Recorder()
    facts = quantize_models(run, prepared, SETTINGS, ear).facts["student"]

    assert facts["float_layers"] == [FAULTY]
    (back,) = facts["put_back"]
    assert (back["name"], back["op"]) == (FAULTY, "Conv")
    assert sum(f"{FAULTY} (Conv, {back['sqnr']:.1f} dB) is kept in FP32" in line for line in ear.said) == 1
    assert facts["accuracy_before"] == facts["accuracy_after"] == 1.0
    assert sum("looking for the most sensitive layers" in line for line in ear.said) == 1
    assert next(line for line in ear.said if "is kept in FP32" in line).startswith(
        f"quantize: student: {FAULTY} (Conv, "
    )
    info = open_model(run.onnx_model("student", "int8")).info
    assert info is not None
    assert info.notes["float_layers"] == FAULTY
    model = onnx.load(run.onnx_model("student", "int8"))
    floats = {
        t.name for t in model.graph.initializer if t.data_type == TensorProto.FLOAT and len(t.dims) == 4
    }
    assert floats == {"w2"}


def test_a_product_of_activations_is_kept_in_fp32_as_well(run_of: Make) -> None:
    """A transformer's attention has no weights and is quantized all the same."""
    run, prepared = run_of(False)
    export(run, transformer())
    facts = quantize_models(run, prepared, SETTINGS, QUIET).facts["student"]
    assert facts["float_layers"] == ["scores"]
    assert facts["accuracy_before"] == facts["accuracy_after"] == 1.0


def test_no_more_layers_than_allowed_go_back(run_of: Make) -> None:
    run, prepared = run_of(True)
    with pytest.raises(GateError, match="INT8 loses"):
        quantize_models(run, prepared, SETTINGS.model_copy(update={"float_layers": 0}), QUIET)
    assert names(run) == ["export.student.manifest.json", "student.onnx"]


def test_layers_are_ranked_by_the_noise_they_make(run_of: Make) -> None:
    run, prepared = run_of(True)
    source, scratch = run.onnx_model("student"), run.onnx / "scratch.onnx"
    images = CalibrationImages(prepared.split("train").images, np.arange(12), PREPROCESS)
    with QUIET.bar("", 1) as bar:
        seen = observe(source, images, False, bar)
    info = open_model(source).info
    assert info is not None
    choice = Choice(int8_scheme("x86-avx2"), Calibration.MINMAX)
    ranked = rank_layers(Maker(source, info, seen, images), choice, scratch, QUIET)

    assert ranked[0].name == FAULTY
    assert {layer.name for layer in ranked} == {"first", "second", "head"}
    assert ranked[0].sqnr < 10 < 25 < ranked[1].sqnr <= ranked[2].sqnr


def test_search_keeps_what_it_found_and_says_what_it_tried(run_of: Make) -> None:
    run, prepared = run_of(False)
    ear = Recorder()
    facts = quantize_models(run, prepared, SETTINGS.model_copy(update={"search": True}), ear).facts["student"]

    table = next(line for line in ear.said if "searched" in line).splitlines()
    own = int8_scheme(int8_target())
    assert len(table) - 2 == len(facts["search"]) == 4 + len(variations(own))
    assert sum(" → " in line for line in table) == 1
    assert any("*" in line for line in table)
    kept = next(line for line in table if " → " in line)
    info = open_model(run.onnx_model("student", "int8")).info
    assert info is not None
    assert info.notes["quantization"].split(":")[0] in kept
    assert facts["calibration"] in kept
    assert all(row["ms"] > 0 for row in facts["search"])
    assert [path.name for path in run.onnx.iterdir() if path.is_dir()] == []


def test_search_for_another_processor_measures_no_latency(run_of: Make) -> None:
    run, prepared = run_of(False)
    foreign = next(target for target in SCHEMES if target != int8_target())
    settings = SETTINGS.model_copy(update={"search": True, "target": foreign})
    ear = Recorder()
    facts = quantize_models(run, prepared, settings, ear).facts["student"]

    assert [row["calibration"] for row in facts["search"]] == ["minmax", "percentile", "entropy", "mse"]
    assert {row["ms"] for row in facts["search"]} == {None}
    assert facts["speed"] is None
    assert sum(f"made for {foreign} on another kind of processor" in line for line in ear.said) == 1
    assert sum("no latency, because this machine" in line for line in ear.said) == 1


@pytest.mark.parametrize("factor", [2.0, 1.02, None])
def test_speed_measured_elsewhere_is_not_said_of_this_machine(
    run_of: Make, monkeypatch: pytest.MonkeyPatch, factor: float | None
) -> None:
    """A run that was quantized on one machine, where `factor` is None one of another kind, and copied."""
    kind = Int8Target.X86_VNNI
    run, prepared = run_of(False)
    settings = SETTINGS.model_copy(update={"target": kind})
    times = np.random.default_rng(0).normal(10, 0.2, (64, 2)) / (1, factor or 1)
    monkeypatch.setattr("kdtool.quant.speed.take_turns", lambda *_: times)
    there = "arm" if factor is None else kind
    for module in ("kdtool.quant.stage", "kdtool.quant.speed"):
        monkeypatch.setattr(f"{module}.int8_target", lambda: there)
    monkeypatch.setattr("kdtool.quant.speed.processor_name", lambda: "Workshop")
    facts = quantize_models(run, prepared, settings, QUIET).facts["student"]
    assert facts["measured_on"] == f"Workshop ({there})"
    assert (facts["speed"] is None) == (factor is None)

    for module in ("kdtool.quant.stage", "kdtool.quant.speed"):
        monkeypatch.setattr(f"{module}.int8_target", lambda: kind)
    monkeypatch.setattr("kdtool.quant.speed.processor_name", lambda: "Device")
    ear = Recorder()
    assert quantize_models(run, prepared, settings, ear).facts["student"] == facts
    assert "quantize: student: complete, skipped" in ear.said
    (word,) = [
        line for line in [*ear.said, *ear.warned] if "as float32" in line or "its speed is unknown" in line
    ]
    if factor is None:
        assert f"made for {kind} on another kind of processor" in word
    else:
        assert f"times as fast as float32 on Workshop ({kind}) (95 % interval" in word
        assert f"To measure it on Device ({kind}): kdtool bench {run.path}" in word
        assert ("On that machine ship the float32 model" in word) == (factor < 1.1)


@pytest.mark.parametrize("target", SCHEMES)
def test_int8_of_a_model_for_old_runtimes_is_one_too(run_of: Make, target: str) -> None:
    """The quantizer raises neither the operator set nor the IR, and wants no operators of its own."""
    run, prepared = run_of(False)
    older = graph_of(False)
    older.opset_import[0].version = 17
    export(run, older)
    quantize_models(run, prepared, SETTINGS.model_copy(update={"target": target}), QUIET)
    model = onnx.load(run.onnx_model("student", "int8"))
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 17)]
    assert model.ir_version == 8
    assert {node.domain for node in model.graph.node} == {""}


def test_a_file_for_browsers_is_measured_in_one(run_of: Make) -> None:
    run, prepared = run_of(False)
    ear = Recorder()
    quantize_models(run, prepared, SETTINGS.model_copy(update={"target": Int8Target.WEB}), ear)
    assert any(line.endswith("Measure both there: kdtool bundle, then kdtool serve") for line in ear.warned)
    assert not any("kdtool bench" in line for line in [*ear.said, *ear.warned])


@pytest.mark.parametrize(("factor", "worth_it"), [(2.0, True), (1.02, False)])
def test_int8_that_is_not_faster_is_not_recommended(
    run_of: Make, monkeypatch: pytest.MonkeyPatch, factor: float, worth_it: bool
) -> None:
    times = np.random.default_rng(0).normal(10, 0.2, (64, 2)) / (1, factor)
    monkeypatch.setattr("kdtool.quant.speed.take_turns", lambda *_: times)
    run, prepared = run_of(False)
    for _ in range(2):  # the second time the stage is complete, and the word is the same
        ear = Recorder()
        facts = quantize_models(run, prepared, SETTINGS, ear).facts["student"]
        assert facts["speed"]["ratio"] == pytest.approx(factor, rel=0.02)
        assert any(f"times as fast as float32 on {this_machine()} (" in line for line in ear.said) == worth_it
        advice = [line for line in ear.warned if "On this machine ship the float32 model" in line]
        assert bool(advice) == (not worth_it)


def test_finetuning_that_makes_it_worse_is_not_kept(run_of: Make) -> None:
    """The fine-tuned student always says the same class; the faulty one is then mended by a layer in FP32."""
    run, prepared = run_of(True)
    worse = graph_of(False)
    head = next(tensor for tensor in worse.graph.initializer if tensor.name == "w3")
    head.CopyFrom(numpy_helper.from_array(np.zeros((3, WIDTH), np.float32), "w3"))

    finetuned = run.path / "worse.onnx"
    finetuned.write_bytes(onnx_bytes(worse, ModelInfo("student", "worse", CLASSES, PREPROCESS)))
    ear = Recorder()
    begun = quantize_models(run, prepared, SETTINGS.model_copy(update={"finetune": 2}), ear)
    assert begun.facts == {}
    facts = quantize_finetuned(begun, finetuned).facts["student"]

    assert (facts["finetuned"], facts["finetuning"]) == (False, None)
    assert facts["float_layers"] == [FAULTY]
    assert facts["accuracy_after"] == 1.0
    assert any("the model without fine-tuning is kept" in line for line in ear.said)
    info = open_model(run.onnx_model("student", "int8")).info
    assert info is not None
    assert info.arch == "resnet18"
    assert "finetuned" not in info.notes


def test_a_student_is_finetuned_only_where_calibration_is_not_enough(run_of: Make) -> None:
    run, prepared = run_of(True)
    finetuned = run.path / "better.onnx"
    finetuned.write_bytes(onnx_bytes(graph_of(False), ModelInfo("student", "x", CLASSES, PREPROCESS)))

    ear = Recorder()
    settings = SETTINGS.model_copy(update={"finetune": 2})
    begun = quantize_models(run, prepared, settings, ear)
    assert begun.to_finetune is not None
    assert begun.to_finetune.choice.scheme == int8_scheme(int8_target())
    assert names(run) == ["export.student.manifest.json", "student.onnx"]
    outcome = quantize_finetuned(begun, finetuned)
    assert outcome.to_finetune is None
    facts = outcome.facts["student"]
    assert (facts["finetuned"], facts["finetuning"]) == (True, "2 epochs")
    info = open_model(run.onnx_model("student", "int8")).info
    assert info is not None
    assert info.notes["finetuned"] == "2 epochs"
    assert any("student.int8.onnx, fine-tuned (2 epochs), " in line for line in ear.said)
    assert facts["float_layers"] == []
    assert facts["accuracy_after"] == 1.0
    assert any("fine-tuning for INT8" in line for line in ear.said)
    again = quantize_models(run, prepared, settings, QUIET)
    assert (again.to_finetune, again.facts["student"]) == (None, facts)  # complete, skipped

    path, manifest = run.onnx_model("student"), run.export_manifest("student")
    run.quantize_manifest("student").unlink()
    path.write_bytes(finetuned.read_bytes())
    Stage("export", run.onnx, {}, manifest.name).seal([path.name], {}, {})
    ear = Recorder()
    outcome = quantize_models(run, prepared, settings, ear)
    assert outcome.to_finetune is None
    assert outcome.facts["student"]["finetuned"] is False
    not_needed = (
        "quantize: student: fine-tuning is not needed: INT8 loses 0.00 percentage points, allowed is 1"
    )
    assert ear.said.count(not_needed) == 1


def test_the_gate_names_the_teacher_with_the_student_that_was_finetuned(run_of: Make) -> None:
    """The teacher fails before the student is fine-tuned, which does not help either: one error says both."""
    run, prepared = run_of(True)
    teacher, manifest = run.onnx_model("teacher"), run.export_manifest("teacher")
    teacher.write_bytes(run.onnx_model("student").read_bytes())
    Stage("export", run.onnx, {}, manifest.name).seal([teacher.name], {}, {})
    begun = quantize_models(
        run, prepared, SETTINGS.model_copy(update={"finetune": 2, "float_layers": 0}), QUIET
    )
    with pytest.raises(GateError) as caught:
        quantize_finetuned(begun, run.onnx_model("student"))
    for role in ("teacher", "student"):
        assert f"{run.onnx_model(role, 'int8')}: INT8 loses" in caught.value.message
        assert not run.onnx_model(role, "int8").exists()
