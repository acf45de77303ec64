"""bench, predict and doctor on runs made of tiny ONNX models; no torch at work."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from safetensors.numpy import save_file

from kdtool.bench.files import bench_files
from kdtool.bench.stage import MODELS, bench_run
from kdtool.cli import main
from kdtool.core.benchresult import read_bench
from kdtool.core.errors import DataError, GateError, ModelFileError, UsageError
from kdtool.core.lock import run_lock
from kdtool.core.manifest import Stage, read_manifest
from kdtool.core.modelinfo import METADATA_KEY, ModelInfo
from kdtool.core.preprocess import Preprocess
from kdtool.core.recipe import BenchSettings, DataSettings, Recipe
from kdtool.core.run import RunFolder
from kdtool.core.screen import QUIET
from kdtool.data.prepare import prepare
from kdtool.data.reader import Prepared
from kdtool.data.sources import load_listing

SIDE = 8
MACHINE = ("packages: ", "power: ", "heat: ", "disk: ")  # findings that are none of the run's
CLASSES = ("blue", "green", "red")
SETTINGS = BenchSettings(
    runs=64, warmup=1, threads=1, resamples=1000, single_thread=False, seconds=0, batch=0, cold_starts=0
)
COSTS = {"teacher": (100, 1000), "student": (50, 500), "baseline": (50, 500)}
KEYS = {
    "name", "role", "precision", "accuracy", "accuracy_ci", "n_images", "retention", "retention_ci", "params",
    "macs", "flops", "size_bytes", "latency_ms",
}  # fmt: skip


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


BLIND = np.zeros((3, 3))  # says blue, whatever it sees


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run with every model; data of 30 test images."""
    source = tmp_path_factory.mktemp("source")
    for offset, (split, per_class) in enumerate((("train", 3), ("validation", 2), ("test", 10))):
        photographs(source / split, per_class, offset)
    run = RunFolder(tmp_path_factory.mktemp("template") / "run")
    prepared, _ = prepare(str(source), DataSettings(size=SIDE), 0, run.data, QUIET)
    run.onnx.mkdir()
    for name, (role, precision) in MODELS.items():
        params, macs = COSTS[role]
        info = ModelInfo(
            role, "tiny", prepared.classes, prepared.preprocess, precision, params=params, macs=macs
        )
        weight = BLIND if name == "baseline" else None
        run.onnx_model(role, precision).write_bytes(classifier(info, weight))
    recipe = Recipe(name="tiny", bench=SETTINGS).to_json()
    run.write_record({"recipe": recipe, "seed": 0, "source": str(source), "classes": list(prepared.classes)})
    return run


@pytest.fixture
def run(template: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(template.path, tmp_path / "artifacts" / "run")
    return RunFolder(Path("artifacts/run"))


@pytest.fixture
def prepared(run: RunFolder) -> Prepared:
    from kdtool.data.reader import open_prepared

    return open_prepared(run.data)


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


def test_bench_json_has_the_keys_of_the_contract(run: RunFolder, prepared: Prepared) -> None:
    result = bench_run(run, prepared, SETTINGS, QUIET)
    content = json.loads(run.bench.read_text())
    assert content.keys() >= {"schema", "host", "models", "claim"}
    assert [model["name"] for model in content["models"]] == list(MODELS)
    for model in content["models"]:
        assert model.keys() >= KEYS
        assert (model["role"], model["precision"]) == MODELS[model["name"]]
        assert model["latency_ms"].keys() >= {"p50", "p90", "samples", "threads"}
        assert len(model["latency_ms"]["samples"]) == 64
        assert len(model["latency_ms"]["warmup"]) == 1
        assert model["latency_ms"]["threads"] == 1
        assert model["flops"] == 2 * model["macs"]
        assert model["n_images"] == 30
        assert model["size_bytes"] == run.onnx_model(*MODELS[model["name"]]).stat().st_size
    assert content["claim"].keys() >= {
        "verdict", "retention", "retention_ci", "compute_ratio", "params_ratio", "thresholds",
    }  # fmt: skip
    assert content["claim"]["compute_ratio"] == 0.5
    assert content["claim"]["params_ratio"] == 0.5
    assert content["claim"]["thresholds"] == {"min_retention": 0.94, "max_compute": 0.5, "confidence": 0.95}
    assert read_bench(run.bench) == result


def test_accuracy_retention_and_gain(run: RunFolder, prepared: Prepared) -> None:
    result = bench_run(run, prepared, SETTINGS, QUIET)
    accuracies = {model.name: model.accuracy for model in result.models}
    assert accuracies == {
        "teacher": 1.0, "student": 1.0, "baseline": 1 / 3, "teacher-int8": 1.0, "student-int8": 1.0,
    }  # fmt: skip
    assert result.model("baseline").retention == pytest.approx(1 / 3)
    assert result.model("teacher").retention_ci == (1.0, 1.0)
    assert (result.gain.student_only, result.gain.baseline_only) == (20, 0)
    assert result.gain.p == pytest.approx(2 * 0.5**20)
    assert any("The test split is small (30 images)" in note for note in result.notes)


def test_predictions_name_each_models_answer(run: RunFolder, prepared: Prepared) -> None:
    bench_run(run, prepared, SETTINGS, QUIET)
    with run.predictions.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [*rows[0]][:4] == ["path", "label", "teacher", "teacher_probability"]
    assert [row["path"] for row in rows] == list(prepared.split("test").paths)
    assert all(row["student"] == row["label"] for row in rows)
    assert {row["baseline"] for row in rows} == {"blue"}
    assert all(1 / 3 <= float(row["student_probability"]) <= 1 for row in rows)


def test_a_verdict_on_few_images_is_inconclusive_and_says_how_many(
    run: RunFolder, prepared: Prepared
) -> None:
    claim = bench_run(run, prepared, SETTINGS, QUIET).claim
    assert claim.verdict == "INCONCLUSIVE"
    assert claim.images_needed > 30


def test_the_whole_protocol(run: RunFolder, prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    for name in ("baseline", "teacher-int8", "student-int8"):
        run.onnx_model(*MODELS[name]).unlink()
    settings = BenchSettings(
        runs=64, warmup=8, threads=2, resamples=1000, seconds=0.1, batch=4, batches=6, cold_starts=2
    )
    result = bench_run(run, prepared, settings, QUIET)
    assert read_bench(run.bench) == result
    assert [moment.when for moment in result.moments][:: len(result.moments) - 1] == ["before", "after"]
    assert result.void == ()
    for model in result.models:
        (one,) = model.other_threads
        assert (model.latency_ms.threads, one.threads) == (2, 1)
        assert len(one.samples) >= 64
        assert (len(one.warmup) >= 8, one.steady is None) == (True, False)
        assert (model.throughput.batch, len(model.throughput.batch_ms)) == (4, 6)
        assert model.throughput.images_per_s > 0
        own = model.own_process
        assert (len(own.load_ms), len(own.first_ms)) == (2, 2)
        assert min(own.load_ms) < own.cold_start_ms
        assert 10**7 < own.empty_bytes <= own.peak_bytes < 10**9
        assert model.latency_ratio_ci[0] <= model.latency_ratio <= model.latency_ratio_ci[1]
    assert result.model("teacher").latency_ratio_ci == (1.0, 1.0)


def test_another_runtime_beside_the_first(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("baseline", "teacher-int8", "student-int8"):
        run.onnx_model(*MODELS[name]).unlink()
    both = ("--runtime", "onnxruntime", "--runtime", "openvino")
    claim = ("--claim", "accuracy>=0.85,macs<=0.5", "--judge", "student@openvino")
    assert kdtool("bench", run.path, *both, *claim, "--quick", "--check", "--json") == 0
    content = json.loads(capsys.readouterr().out)
    rows = [(model["name"], model["runtime"], model["accuracy"]) for model in content["models"]]
    assert rows == [
        ("teacher", "onnxruntime", 1.0),
        ("student", "onnxruntime", 1.0),
        ("teacher@openvino", "openvino", 1.0),
        ("student@openvino", "openvino", 1.0),
    ]
    assert content["host"]["versions"].keys() >= {"onnxruntime", "openvino"}
    file = run.onnx_model("student")
    assert kdtool("bench", file, "--runtime", "openvino", "--quick", "--json") == 0
    (model,) = json.loads(capsys.readouterr().out)["models"]
    assert (model["name"], model["runtime"]) == ("student", "openvino")
    assert kdtool("bench", file, "--runtime", "abacus") == 2
    assert kdtool("bench", file, "--runtime", "openvino", "--runtime", "openvino") == 2
    assert "named twice" in capsys.readouterr().err


def test_machines_side_by_side(
    run: RunFolder, prepared: Prepared, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench_run(run, prepared, SETTINGS, QUIET)
    other = json.loads(run.bench.read_text())
    other["host"] |= {"processor": "A Pi \x1b[31m", "machine": "aarch64"}
    rows = {model["name"]: model for model in other["models"]}
    rows["student"]["latency_ms"] |= {
        key: rows["student"]["latency_ms"][key] * 2 for key in ("p50", "p90")
    } | {"p50_ci": [2 * end for end in rows["student"]["latency_ms"]["p50_ci"]]}
    rows["student-int8"]["accuracy"] = 0.9
    rows["teacher"]["sha256"] = "0" * 64
    del other["models"][2]  # the baseline
    old = other | {"schema": 1, "void": ["throttled"]}
    (tmp_path / "pi.json").write_text(json.dumps(other))
    (tmp_path / "old.json").write_text(json.dumps(old))
    files = (run.path, tmp_path / "pi.json", tmp_path / "old.json")
    assert kdtool("bench", "--compare", *files, "--json") == 0
    content = json.loads(capsys.readouterr().out)
    assert [Path(machine["file"]).name for machine in content["machines"]] == [
        "bench.json",
        "pi.json",
        "old.json",
    ]
    found = {(row["model"], row["machine"]): row for row in content["rows"]}
    assert len(found) == 5 + 4 + 4
    student = found["student", 2]
    assert (student["to_first"], student["same_file"]) == (pytest.approx(2), True)
    assert student["to_first_ci"][0] <= 2 <= student["to_first_ci"][1]
    assert (found["student", 1]["to_first"], found["student", 3]["p50_ms"]) == (None, None)
    assert (found["teacher", 2]["same_file"], found["teacher", 2]["to_first"]) == (False, None)
    notes = " ".join(content["notes"])
    assert "teacher: 2 measured another file than 1." in notes
    assert "student-int8: the same file has 90.00 % top-1 on 2 and 100.00 % on 1" in notes
    assert "3: Latencies are void" in notes
    assert kdtool("bench", "--compare", *files) == 0
    out = capsys.readouterr().out
    assert "A Pi" in out
    assert "void" in out
    assert "\x1b[31m" not in out


def test_what_cannot_be_compared(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, cause in (
        ((), "wants bench.json files"),
        ((run.path,), "is not a result of bench"),
        ((run.record, run.record), "named twice"),
        ((run.record, "--quick", "--runtime", "openvino"), "--runtime, --quick: without effect"),
    ):
        assert kdtool("bench", "--compare", *arguments) == 2
        assert cause in " ".join(capsys.readouterr().err.split())


def test_a_throttled_pi_voids_latencies_and_is_measured_again(
    run: RunFolder, prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    program = tmp_path / "vcgencmd"
    program.write_text("#!/bin/sh\necho throttled=0x4\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert kdtool("bench", run.path, "--claim", "latency<=9", "--check") == 6
    out, err = capsys.readouterr()
    assert "The verdict is INCONCLUSIVE; the latencies are void (throttled)." in " ".join(err.split())
    assert "void" in out
    void = read_bench(run.bench)
    assert (void.void, void.claim.verdict) == (("throttled",), "INCONCLUSIVE")
    assert len(void.model("student").latency_ms.samples) == 64
    assert void.notes[0].startswith("Latencies are void (throttled)")
    assert not any("1.1 × as fast" in note for note in void.notes)
    program.unlink()
    assert bench_run(run, prepared, SETTINGS, QUIET).void == ()


def test_a_claim_of_ones_own(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    claim = "macs<=0.5,accuracy>=0.85,size_mb<=1"
    assert kdtool("bench", run.path, "--claim", claim, "--check", "--json") == 0
    content = json.loads(capsys.readouterr().out)["claim"]
    assert [(part["measure"], part["verdict"]) for part in content["bounds"]] == [
        ("macs", "PASS"),
        ("accuracy", "PASS"),
        ("size_mb", "PASS"),
    ]
    assert content["thresholds"] == {"min_retention": None, "max_compute": 0.5, "confidence": 0.95}
    assert kdtool("bench", run.path, "--claim", "latency<=0.001", "--judge", "student-int8", "--check") == 6
    out = " ".join(capsys.readouterr().out.split())
    assert "Claimed for student-int8: at most 0.1 % of the teacher’s median latency" in out


def test_a_claim_on_files_without_roles(
    run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [tmp_path / "one.onnx", tmp_path / "two.onnx"]
    for path in files:
        path.write_bytes(classifier(None))
    names = ("--judge", files[0], "--against", files[1])
    assert kdtool("bench", *files, "--quick", "--claim", "size<=1", *names, "--check", "--json") == 0
    claim = json.loads(capsys.readouterr().out)["claim"]
    assert (claim["judged"], claim["reference"]) == (str(files[0]), str(files[1]))


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        (("--claim", "speed<=1"), "'speed<=1' is no bound"),
        (("--judge", "abacus"), "'abacus', which is not measured; allowed: teacher, student"),
        (("--against", "abacus"), "'abacus', which is not measured"),
    ],
)
def test_a_claim_that_cannot_be_judged(
    run: RunFolder, options: tuple[str, str], cause: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert kdtool("bench", run.path, *options) == 2
    assert cause in " ".join(capsys.readouterr().err.split())
    assert not run.bench.exists()


def test_a_useless_student_fails(run: RunFolder, prepared: Prepared) -> None:
    give(run, "student", BLIND)
    assert bench_run(run, prepared, SETTINGS, QUIET).claim.verdict == "FAIL"


def test_a_student_that_costs_too_much_fails(run: RunFolder, prepared: Prepared) -> None:
    give(run, "student", None, macs=501)
    claim = bench_run(run, prepared, SETTINGS, QUIET).claim
    assert (claim.verdict, claim.compute_ratio) == ("FAIL", 0.501)


def test_int8_takes_the_cost_of_its_float_twin(run: RunFolder, prepared: Prepared) -> None:
    info = ModelInfo("student", "tiny", prepared.classes, prepared.preprocess, "int8")
    run.onnx_model("student", "int8").write_bytes(classifier(info))
    model = bench_run(run, prepared, SETTINGS, QUIET).model("student-int8")
    assert (model.params, model.macs) == COSTS["student"]


def test_a_complete_bench_is_skipped_unless_asked_for(run: RunFolder, prepared: Prepared) -> None:
    first = bench_run(run, prepared, SETTINGS, QUIET)
    assert bench_run(run, prepared, SETTINGS, QUIET) == first
    again = bench_run(run, prepared, SETTINGS, QUIET, always=True)
    assert again.model("student").latency_ms.samples != first.model("student").latency_ms.samples
    give(run, "student", BLIND)
    assert bench_run(run, prepared, SETTINGS, QUIET).model("student").accuracy == pytest.approx(1 / 3)


def test_another_processor_is_measured_again(
    run: RunFolder, prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = bench_run(run, prepared, SETTINGS, QUIET)
    monkeypatch.setattr("kdtool.bench.stage.processor_name", lambda: "another")
    assert bench_run(run, prepared, SETTINGS, QUIET) != first


def test_another_onnxruntime_measures_again(
    run: RunFolder, prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = bench_run(run, prepared, SETTINGS, QUIET)
    monkeypatch.setattr("kdtool.bench.stage.versions_of", lambda names: dict.fromkeys(names, "99"))
    assert bench_run(run, prepared, SETTINGS, QUIET) != first


def test_a_renamed_picture_renews_the_predictions(run: RunFolder, prepared: Prepared) -> None:
    bench_run(run, prepared, SETTINGS, QUIET)
    assert "renamed" not in run.predictions.read_text()
    samples = run.data / "samples.csv"
    samples.write_text(samples.read_text().replace("/red/0.png", "/red/renamed.png"))
    bench_run(run, prepared, SETTINGS, QUIET)
    assert "/red/renamed.png" in run.predictions.read_text()


def test_without_data_latency_is_measured_and_no_accuracy_lost(run: RunFolder, prepared: Prepared) -> None:
    alone = bench_run(run, None, SETTINGS, QUIET)
    assert (alone.model("student").accuracy, alone.claim.verdict) == (None, "INCONCLUSIVE")
    assert "There were no test images: nothing is said of accuracy." in alone.notes
    assert json.loads(run.bench.read_text())["models"][0]["accuracy"] is None
    bench_run(run, prepared, SETTINGS, QUIET)
    bench_run(run, None, SETTINGS, QUIET)
    assert read_bench(run.bench).model("student").accuracy == 1.0


def test_a_run_without_models_is_a_usage_error(run: RunFolder, prepared: Prepared) -> None:
    shutil.rmtree(run.onnx)
    with pytest.raises(UsageError, match="no exported models"):
        bench_run(run, prepared, SETTINGS, QUIET)


@pytest.mark.parametrize("classes", [("a", "b", "c"), ("blue", "green")])
def test_a_model_of_other_classes_is_refused(
    run: RunFolder, prepared: Prepared, classes: tuple[str, ...]
) -> None:
    give(run, "student", None, classes=classes)
    with pytest.raises(ModelFileError, match="not those of the run's data"):
        bench_run(run, prepared, SETTINGS, QUIET)


def test_a_model_with_more_logits_than_classes_is_refused(run: RunFolder, prepared: Prepared) -> None:
    give(run, "student", np.ones((3, 4)))
    with pytest.raises(ModelFileError, match="answers with 4 logits, the data has 3 classes"):
        bench_run(run, prepared, SETTINGS, QUIET)


def test_a_model_that_answers_nan_fails_the_gate(run: RunFolder, prepared: Prepared) -> None:
    give(run, "student", np.full((3, 3), np.nan))
    with pytest.raises(GateError, match="NaN or infinity"):
        bench_run(run, prepared, SETTINGS, QUIET)


def test_command_on_the_newest_run(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert kdtool("bench", "--threads", 1, "--runs", 64, "--quick") == 0
    out, err = capsys.readouterr()
    assert "Newest run: artifacts/run" in err
    for word in (
        "student-int8",
        "GMACs",
        "GFLOPs",
        "Retention",
        "INCONCLUSIVE",
        "McNemar",
        "100.00 (88.6–100.0)",
    ):
        assert word in out
    assert read_manifest(run.path / "bench.manifest.json").files.keys() == {"bench.json", "predictions.csv"}


def test_command_prints_json_and_checks(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert kdtool("bench", run.path, "--json", "--check", "--runs", 64) == 6
    out, err = capsys.readouterr()
    assert json.loads(out) == json.loads(run.bench.read_text())
    assert "The verdict is INCONCLUSIVE" in err


def test_command_without_a_baseline_says_so(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    run.onnx_model("baseline").unlink()
    assert kdtool("bench", run.path) == 0
    assert "Use --baseline" in capsys.readouterr().out


def test_command_on_a_device_that_has_models_alone(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(run.data)
    run.record.unlink()
    assert kdtool("bench", run.path, "--quick", "--runs", 64) == 0
    out, err = capsys.readouterr()
    assert "accuracy is not" in err
    assert "student" in out


def unwritable(run: RunFolder) -> None:
    """As on a read-only medium, for root too: the lock cannot be opened."""
    (run.path / ".lock").mkdir()


def test_command_on_a_run_that_cannot_be_written(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    unwritable(run)
    before = set(run.path.rglob("*"))
    assert kdtool("bench", run.path, "--json", "--quick", "--runs", 64) == 0
    out, err = capsys.readouterr()
    assert {model["accuracy"] for model in json.loads(out)["models"]} == {1.0, 1 / 3}
    assert "nothing is written into it" in " ".join(err.split())
    assert "--out" not in err
    assert set(run.path.rglob("*")) == before


def test_command_on_a_run_in_use_names_no_option_it_lacks(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    with run_lock(run.path):
        assert kdtool("bench", run.path) == 7
    err = capsys.readouterr().err
    assert "in use by process" in err
    assert "--out" not in err


def test_int8_of_another_processor_is_noted(run: RunFolder, prepared: Prepared) -> None:
    info = ModelInfo(
        "student", "tiny", prepared.classes, prepared.preprocess, "int8", notes={"target": "abacus"}
    )
    run.onnx_model("student", "int8").write_bytes(classifier(info))
    notes = bench_run(run, prepared, SETTINGS, QUIET).notes
    assert any("student-int8 was quantized for abacus" in note for note in notes)


def test_command_on_a_folder_that_is_no_run(tmp_path: Path) -> None:
    assert kdtool("bench", tmp_path) == 2


def test_command_on_a_folder_and_a_file(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert kdtool("bench", run.path, run.onnx_model("student")) == 2
    assert "one RUN, or ONNX files" in capsys.readouterr().err


def test_command_on_files_with_data(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    files = [run.onnx_model("teacher"), run.onnx_model("student")]
    assert kdtool("bench", *files, "--data", source_of(run), "--json", "--quick", "--runs", 64) == 0
    content = json.loads(capsys.readouterr().out)
    assert [model["accuracy"] for model in content["models"]] == [1.0, 1.0]
    assert content["models"][0]["n_images"] == 30  # the test split alone
    assert not run.bench.exists()


def test_command_on_a_run_with_other_data(
    run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photographs(tmp_path / "flat", 2, offset=9)
    assert kdtool("bench", run.path, "--data", tmp_path / "flat", "--json", "--quick", "--runs", 64) == 0
    out, err = capsys.readouterr()
    assert {model["n_images"] for model in json.loads(out)["models"]} == {6}
    assert "no test split" in err


@pytest.mark.parametrize("content", [b"", b"\x08\x0a", b"junk" * 50])
def test_command_on_a_broken_file(run: RunFolder, content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    run.onnx_model("student").write_bytes(content)
    assert kdtool("bench", run.path) == 4
    assert "not an intact ONNX file" in capsys.readouterr().err
    assert kdtool("bench", run.onnx_model("student")) == 4


def test_foreign_files_are_measured_and_counted(run: RunFolder, tmp_path: Path) -> None:
    path = tmp_path / "foreign.onnx"
    path.write_bytes(classifier(None))
    result = bench_files([path], None, SETTINGS, QUIET, lambda path: (9, 9))
    (model,) = result.models
    assert (model.name, model.role, model.precision, model.macs) == (str(path), None, None, 9)
    assert (model.accuracy, result.claim.verdict) == (None, "INCONCLUSIVE")
    assert bench_files([path], None, SETTINGS, QUIET).models[0].macs is None


def test_two_students_get_two_names(run: RunFolder, tmp_path: Path) -> None:
    copy = tmp_path / "copy.onnx"
    shutil.copy(run.onnx_model("student"), copy)
    result = bench_files([run.onnx_model("student"), copy], None, SETTINGS, QUIET)
    assert [model.name for model in result.models] == ["student", str(copy)]
    with pytest.raises(UsageError, match="named twice"):
        bench_files([copy, copy, copy], None, SETTINGS, QUIET)


def test_accuracy_of_a_foreign_file_is_refused(run: RunFolder, tmp_path: Path) -> None:
    path = tmp_path / "foreign.onnx"
    path.write_bytes(classifier(None))
    with pytest.raises(UsageError, match="states neither its classes"):
        bench_files([path], load_listing(str(source_of(run))), SETTINGS, QUIET)


def test_accuracy_of_a_foreign_file_like_one_of_ours(
    run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours, foreign = run.onnx_model("teacher"), tmp_path / "foreign.onnx"
    foreign.write_bytes(classifier(None, BLIND))
    data = ("--data", source_of(run), "--like", ours, "--judge", foreign)
    assert kdtool("bench", ours, foreign, *data, "--quick", "--json") == 0
    content = json.loads(capsys.readouterr().out)
    assert [model["accuracy"] for model in content["models"]] == [1.0, pytest.approx(1 / 3)]
    assert content["claim"]["verdict"] == "FAIL"
    assert kdtool("bench", ours, "--like", foreign, *data[:2]) == 2
    assert "states neither" in capsys.readouterr().err
    assert kdtool("bench", run.path, *data[:4]) == 2
    assert kdtool("bench", foreign, "--like", ours) == 2
    assert "without effect" in capsys.readouterr().err


def test_classes_a_model_does_not_know_are_named(run: RunFolder) -> None:
    give(run, "student", None, classes=("blue", "green", "yellow"))
    with pytest.raises(DataError, match="classes it does not know: red"):
        bench_files([run.onnx_model("student")], load_listing(str(source_of(run))), SETTINGS, QUIET)


def test_unreadable_photographs_are_named_at_once(run: RunFolder, tmp_path: Path) -> None:
    photographs(tmp_path / "flat", 2)
    for name in ("red", "blue"):
        (tmp_path / "flat" / name / "0.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"(?s)2 photographs cannot be read.*blue/0\.png.*red/0\.png"):
        bench_files([run.onnx_model("student")], load_listing(str(tmp_path / "flat")), SETTINGS, QUIET)


def test_data_without_photographs(run: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "empty" / "red").mkdir(parents=True)
    with pytest.raises(DataError, match="no photographs"):
        bench_files([run.onnx_model("student")], load_listing(str(tmp_path / "empty")), SETTINGS, QUIET)


def test_predict_a_folder(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert kdtool("predict", source_of(run) / "test" / "red", "--top", 2) == 0
    out, err = capsys.readouterr()
    rows = [line.split("\t") for line in out.splitlines()]
    assert len(rows) == 20
    assert {row[1] for row in rows[::2]} == {"red"}
    assert all(
        float(first[2]) > float(second[2]) for first, second in zip(rows[::2], rows[1::2], strict=True)
    )
    assert "Model: artifacts/run/onnx/student.onnx" in err


def test_predict_as_json_with_a_broken_photograph(
    run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad\x1b[31m.png"
    bad.write_bytes(b"no picture")
    good = source_of(run) / "test" / "blue" / "0.png"
    model = run.onnx_model("student")
    assert kdtool("predict", bad, good, tmp_path / "absent.jpg", "--model", model, "--json") == 3
    out, err = capsys.readouterr()
    (found,) = json.loads(out)
    assert found["path"] == str(good)
    assert found["classes"][0]["class"] == "blue"
    assert "2 photograph(s) or folder(s) cannot be read" in err
    assert "\x1b[31m" not in err


def test_predict_with_a_foreign_model(run: RunFolder, tmp_path: Path) -> None:
    path = tmp_path / "foreign.onnx"
    path.write_bytes(classifier(None))
    assert kdtool("predict", "x.png", "--model", path) == 2
    assert kdtool("predict", "x.png", "--model", tmp_path / "absent.onnx") == 4


@pytest.mark.parametrize(("weight", "code"), [(np.ones((3, 4)), 4), (np.full((3, 3), np.nan), 6)])
def test_predict_with_a_model_that_answers_nonsense(run: RunFolder, weight: np.ndarray, code: int) -> None:
    give(run, "student", weight)
    assert kdtool("predict", source_of(run) / "test" / "red" / "0.png") == code


@pytest.mark.parametrize("first", [0, 1])
def test_predict_an_empty_folder_beside_a_picture(
    run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str], first: int
) -> None:
    (tmp_path / "empty").mkdir()
    named = [tmp_path / "empty", source_of(run) / "test" / "red" / "0.png"]
    assert kdtool("predict", named[first], named[1 - first], "--json") == 3
    out, err = capsys.readouterr()
    assert [found["path"] for found in json.loads(out)] == [str(named[1])]
    assert "empty: no pictures in this folder" in " ".join(err.split())
    assert "1 photograph(s) or folder(s) cannot be read" in err


def test_predict_names_the_picture_that_is_too_thin(
    run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (1, 60)).save(tmp_path / "thin.png")
    monkeypatch.setattr("kdtool.core.preprocess.PIXEL_LIMIT", 100)
    assert kdtool("predict", tmp_path / "thin.png") == 3
    assert "thin.png: 1 × 60 pixels resized to 8 × 480" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("field", ["resize", "std"])
def test_a_hostile_model_is_a_model_error(
    run: RunFolder, field: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ModelInfo("student", "tiny", CLASSES, Preprocess(SIDE, SIDE))
    text = data.to_metadata()[METADATA_KEY].replace(f'"{field}": ', f'"{field}": 1e400, "old": ')
    model = onnx.load_from_string(classifier(None))
    helper.set_model_props(model, {METADATA_KEY: text})
    onnx.save(model, run.onnx_model("student"))
    picture = source_of(run) / "test" / "red" / "0.png"
    assert kdtool("predict", picture) == 4
    assert kdtool("bench", run.onnx_model("student")) == 4
    assert "metadata cannot be read" in capsys.readouterr().err


def findings(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, list[str]]]:
    capsys.readouterr()
    code = kdtool("doctor", *arguments, "--json")
    levels: dict[str, list[str]] = {"ok": [], "note": [], "warning": [], "broken": []}
    for finding in json.loads(capsys.readouterr().out):
        levels[finding["level"]].append(f"{finding['about']}: {finding['text']}")
        assert finding["fix"] or finding["level"] in ("ok", "note")
    return code, levels


def test_doctor_of_a_sound_run(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    kdtool("bench", run.path)
    code, levels = findings(capsys, run.path)
    assert (code, levels["broken"]) == (0, [])
    assert any("2 file(s) intact" in text for text in levels["ok"])


def test_doctor_of_a_damaged_run(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    kdtool("bench", run.path)
    run.predictions.write_text("torn")
    run.onnx_model("student").write_bytes(b"torn")
    (run.data / "manifest.json").write_text("torn")
    (run.path / ".x.1.partial").write_text("")
    code, levels = findings(capsys)
    text = "\n".join(levels["broken"])
    assert code == 5
    assert "predictions.csv" in text
    assert "student.onnx: not an intact ONNX file" in text
    assert "The manifest cannot be read" in text
    assert any("unfinished" in note for note in levels["note"])


def test_doctor_warns_of_a_smoothed_teacher_that_is_worse(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    record = run.read_record()
    record["recipe"]["teacher"]["label_smoothing"] = 0.1
    record["recipe"]["student"]["loss"]["temperature"] = 4.0
    run.write_record({key: value for key, value in record.items() if key != "schema"})
    give(run, "teacher", BLIND)
    kdtool("bench", run.path)
    code, levels = findings(capsys, run.path)
    text = "\n".join(levels["warning"])
    assert code == 0
    assert "label smoothing 0.1 and the temperature is 4" in text
    assert "The teacher is worse than its student (33.3 against 100.0 % of the test images)" in text


def teach(run: RunFolder, role: str, accuracy: float | None = 0.8, **changes: object) -> None:
    """Weights of a role with their record, and a manifest that knows their validation accuracy."""
    info = ModelInfo(role, "tiny", tuple(run.read_record()["classes"]), Preprocess(SIDE, SIDE))
    run.role(role).mkdir(exist_ok=True)
    save_file({"w": np.ones(1, np.float32)}, run.weights(role), replace(info, **changes).to_metadata())
    result = {} if accuracy is None else {"validation_accuracy": accuracy}
    Stage("distill", run.role(role), {}).seal([run.weights(role).name], result, {})


def set_up(run: RunFolder, **loss: object) -> None:
    """Record another loss."""
    record = json.loads(run.record.read_text())
    record["recipe"]["student"]["loss"] |= loss
    run.record.write_text(json.dumps(record))


def test_doctor_has_nothing_against_a_sound_set_up(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up(run, name="dkd", standardize=True, temperature=1.5, beta=0.16)
    for role, accuracy in (("teacher", 0.9), ("student", 0.9), ("baseline", 0.5)):
        teach(run, role, accuracy)
    code, levels = findings(capsys, run.path)
    assert (code, levels["broken"]) == (0, [])
    assert not [text for text in levels["warning"] if not text.startswith(MACHINE)]


@pytest.mark.parametrize(
    ("loss", "classes", "expected"),
    [
        ({"temperature": 4.0}, 3, "label smoothing 0.2 and the temperature is 4"),
        ({"standardize": True, "temperature": 2.5}, 10, "highest probability cannot exceed 0.28"),
        ({"standardize": True}, 2, "Standardized logits of 2 classes"),
        ({"name": "dkd"}, 2, "dkd with 2 classes"),
        ({"name": "deit_soft"}, 100, "deit_soft with 100 classes"),
    ],
)
def test_doctor_warns_of_a_loss_that_does_not_suit_the_run(
    run: RunFolder, loss: dict, classes: int, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    record = json.loads(run.record.read_text())
    run.record.write_text(json.dumps(record | {"classes": [f"c{index}" for index in range(classes)]}))
    shutil.rmtree(run.onnx)
    set_up(run, **loss)
    teach(run, "teacher", None, label_smoothing=0.2)  # the recipe knows of none: a teacher that was brought
    code, levels = findings(capsys, run.path)
    assert code == 0
    assert any(text.startswith("recipe: ") and expected in text for text in levels["warning"])


@pytest.mark.parametrize(
    ("teacher", "expected"),
    [(0.7, "(70.0 against 80.0 % of the validation images)"), (0.35, "it has nothing")],
)
def test_doctor_warns_of_a_teacher_by_its_validation_accuracy(
    run: RunFolder, teacher: float, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    teach(run, "teacher", teacher)
    teach(run, "student", 0.8)
    code, levels = findings(capsys, run.path)
    assert code == 0
    assert any(text.startswith("teacher: ") and expected in text for text in levels["warning"])


def test_doctor_finds_classes_in_another_order(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert tuple(run.read_record()["classes"]) == CLASSES
    teach(run, "teacher")
    teach(run, "student", classes=CLASSES[::-1])
    teach(run, "baseline", classes=("blue", "cyan", "red"))
    give(run, "student", None, classes=("blue", "red", "green"))
    give(run, "baseline", None, classes=tuple("abc"))
    code, levels = findings(capsys, run.path)
    text = "\n".join(levels["broken"])
    assert (code, len(levels["broken"])) == (5, 4)
    assert "a, b, blue, c, green, … (6 in all) differ" in text
    assert f"{run.weights('student')}: Its classes are in another order: number 0 is 'red'" in text
    assert f"{run.weights('baseline')}: Its classes are others than in run.json: cyan, green differ" in text
    assert f"{run.onnx_model('student')}: Its classes are in another order: number 1 is 'red'" in text


def test_doctor_finds_models_that_cannot_be_read(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    teach(run, "teacher")
    run.weights("teacher").write_bytes(b"torn")
    model = onnx.load_from_string(classifier(None))
    helper.set_model_props(model, {METADATA_KEY: "{}"})
    onnx.save(model, run.onnx_model("student"))
    code, levels = findings(capsys, run.path)
    text = "\n".join(levels["broken"])
    assert (code, len(levels["broken"])) == (5, 3)  # the teacher's manifest as well
    assert "not a readable safetensors file" in text
    assert "its kdtool metadata cannot be read" in text


def test_doctor_of_models_alone(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    run.record.unlink()
    code, levels = findings(capsys, run.path)
    assert (code, levels["broken"]) == (0, [])


def test_doctor_of_unreadable_records(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    run.record.write_text("torn")
    run.bench.write_text("torn")
    code, levels = findings(capsys, run.path)
    assert (code, len(levels["broken"])) == (5, 2)
    assert kdtool("doctor", run.path / "absent") == 2


@pytest.mark.parametrize("recipe", [[], None, "text", {"teacher": []}, {"student": {"loss": 1}}])
def test_doctor_of_a_record_of_wrong_types(
    run: RunFolder, recipe: object, capsys: pytest.CaptureFixture[str]
) -> None:
    run.record.write_text(json.dumps(json.loads(run.record.read_text()) | {"recipe": recipe}))
    code, levels = findings(capsys, run.path)
    assert (code, len(levels["broken"])) == (5, 1)
    assert str(run.path) in levels["broken"][0]


def test_doctor_of_a_temperature_that_is_no_number(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    record = json.loads(run.record.read_text())
    record["recipe"]["student"]["loss"]["temperature"] = "high"
    run.record.write_text(json.dumps(record))
    assert findings(capsys, run.path)[0] == 0


def test_doctor_names_what_is_outdated_and_the_command_for_a_broken_manifest(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    run.role("student").mkdir()
    run.weights("student").write_bytes(b"newer")
    manifest = run.export_manifest("student")
    Stage("export", run.onnx, {"network": "0" * 64}, manifest.name).seal(["student.onnx"], {}, {})
    kdtool("doctor", run.path)
    assert "was made from other weights" in " ".join(capsys.readouterr().out.split())
    manifest.write_text("torn")
    assert kdtool("doctor", run.path) == 5
    assert f"Make it again: kdtool export --onnx {run.path}" in capsys.readouterr().out


def test_doctor_without_a_run_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert kdtool("doctor") == 0
    out = capsys.readouterr().out
    assert "onnxruntime" in out
    assert "threads" in out
    assert "GB free" in out


def test_a_torn_bench_is_measured_again(run: RunFolder, prepared: Prepared) -> None:
    bench_run(run, prepared, SETTINGS, QUIET)
    run.bench.write_text("torn")
    assert bench_run(run, prepared, SETTINGS, QUIET).model("student").accuracy == 1.0
    stage = Stage("bench", run.path, {}, "bench.manifest.json")
    assert read_manifest(stage.manifest_path) is not None
