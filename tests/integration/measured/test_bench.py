"""The bench of a run: figures, claim, notes, and when it is measured again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from fixtures.commands import kdtool
from fixtures.runs.onnxmodels import BLIND, COSTS, SETTINGS, classifier, give
from kdtool.benchmark.stage import MODELS, bench_run
from kdtool.core.errors import GateError, ModelFileError, UsageError
from kdtool.core.modelinfo import ModelInfo
from kdtool.core.screen import QUIET
from kdtool.data.reader import Prepared
from kdtool.recipe.settings import BenchSettings
from kdtool.results.bench import read_bench
from kdtool.runs.folder import RunFolder
from kdtool.runs.stage import Stage, read_manifest

KEYS = {
    "name", "role", "precision", "accuracy", "accuracy_ci", "n_images", "retention", "retention_ci", "params",
    "macs", "flops", "size_bytes", "latency_ms",
}  # fmt: skip


def test_bench_json_has_the_keys_of_the_contract(run: RunFolder, prepared: Prepared) -> None:
    result = bench_run(run, prepared, SETTINGS, QUIET)
    content = json.loads(run.bench.read_text())
    assert content.keys() >= {"schema", "host", "models", "claim"}
    assert [model["name"] for model in content["models"]] == [name for name in MODELS if name != "probe"]
    for model in content["models"]:
        assert model.keys() >= KEYS
        assert (model["role"], model["precision"]) == MODELS[model["name"]]
        assert model["latency_ms"].keys() >= {"p50", "p90", "samples", "threads"}
        assert len(model["latency_ms"]["samples"]) == 64
        assert len(model["latency_ms"]["warmup"]) >= 2 * 4
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


def test_every_pair_of_models_is_compared_on_the_same_images(run: RunFolder, prepared: Prepared) -> None:
    result = bench_run(run, prepared, SETTINGS, QUIET)
    found = {(pair.model, pair.against): pair for pair in result.differences}
    assert len(found) == 10
    content = json.loads(run.bench.read_text())["differences"]
    assert content[1] | {"p": None, "p_holm": None, "points_ci": None, "retention_ci": None} == {
        "model": "baseline", "against": "teacher", "n_images": 30, "model_only": 0, "against_only": 20,
        "points": pytest.approx(-200 / 3), "points_ci": None,
        "retention": pytest.approx(1 / 3), "retention_ci": None, "p": None, "p_holm": None,
    }  # fmt: skip
    for model in result.models[1:]:
        pair = found[model.name, "teacher"]
        assert (pair.retention, pair.retention_ci) == (model.retention, model.retention_ci)
    assert found["baseline", "student"].p == result.gain.p
    assert bench_run(run, None, SETTINGS, QUIET, always=True).differences == ()  # no images, no pairs


def test_a_verdict_on_few_images_is_inconclusive_and_says_how_many(
    run: RunFolder, prepared: Prepared
) -> None:
    claim = bench_run(run, prepared, SETTINGS, QUIET).claim
    assert claim.verdict == "INCONCLUSIVE"
    assert claim.images_needed > 30


@pytest.mark.slow
def test_the_whole_protocol(run: RunFolder, prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    for name in ("baseline", "teacher-int8", "student-int8"):
        run.onnx_model(*MODELS[name]).unlink()
    settings = BenchSettings(
        sessions=3,
        runs=64,
        warmup=8,
        threads=2,
        resamples=1000,
        seconds=0.1,
        batch=4,
        batches=6,
        cold_starts=2,
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
        assert (len(one.sessions), sum(one.sessions)) == (3, len(one.samples))
        for latency, beside in zip(model.latencies, result.model("teacher").latencies, strict=True):
            assert latency.p50_ci[0] < latency.p50 < latency.p50_ci[1]
            assert latency.ratio == pytest.approx(latency.p50 / beside.p50)
            assert latency.ratio_ci[0] <= latency.ratio <= latency.ratio_ci[1]
        assert [offline.threads for offline in model.throughputs] == [2, 1]
        for offline, beside in zip(model.throughputs, result.model("teacher").throughputs, strict=True):
            assert (offline.batch, len(offline.batch_ms) >= 6) == (4, True)
            assert (len(offline.warmup), offline.steady) == (3, None)
            medians = [np.median(times) for times in offline.by_session]
            assert offline.images_per_s == pytest.approx(4000 / np.exp(np.mean(np.log(medians))))
            assert offline.ratio == pytest.approx(offline.images_per_s / beside.images_per_s)
            assert offline.ratio_ci[0] <= offline.ratio <= offline.ratio_ci[1]
            assert len(offline.batch_ms) == len(beside.batch_ms)  # of the same rounds
        own = model.own_process
        assert (len(own.load_ms), len(own.first_ms)) == (2, 2)
        assert min(own.load_ms) < own.cold_start_ms
        assert 10**7 < own.empty_bytes <= own.peak_bytes < 10**9
    assert result.model("teacher").latency_ms.ratio_ci == (1.0, 1.0)
    assert {offline.ratio_ci for offline in result.model("teacher").throughputs} == {(1.0, 1.0)}


def test_a_fixed_batch_says_what_its_throughput_is(
    run: RunFolder, prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = onnx.load(run.onnx_model("student"))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(model, run.onnx_model("student"))
    settings = SETTINGS.model_copy(update={"batch": 2, "batches": 6})
    notes = [note for note in bench_run(run, prepared, settings, QUIET).notes if "fixed" in note]
    assert notes == [
        "The batch of student is fixed at 1: its throughput was measured one image after the other."
    ]
    notes = bench_run(run, prepared, SETTINGS, QUIET).notes  # no throughput, no word on it
    assert not any("fixed" in note for note in notes)


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
    other["host"] |= {"processor": "A Pi \x1b[31m", "machine": "aarch64", "flags": []}
    rows = {model["name"]: model for model in other["models"]}
    rows["student"]["latency_ms"] |= {
        key: rows["student"]["latency_ms"][key] * 2 for key in ("p50", "p90")
    } | {"p50_ci": [2 * end for end in rows["student"]["latency_ms"]["p50_ci"]]}
    rows["student-int8"]["accuracy"] = 0.9
    rows["teacher"]["sha256"] = "0" * 64
    rows["student-int8"]["target"] = "x86-avx2"
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
    assert (found["student", 3]["to_reference"], found["student", 3]["to_reference_ci"]) == (None, None)
    assert (found["teacher", 2]["same_file"], found["teacher", 2]["to_first"]) == (False, None)
    notes = " ".join(content["notes"])
    assert "teacher: machine 2 measured another file than machine 1." in notes
    assert "student-int8: the same file has 90.00 % top-1 on machine 2 and 100.00 % on machine 1" in notes
    assert "machine 3: Latencies are void" in notes
    assert (
        "machine 2: student-int8 was made for x86-avx2 and measured on arm: its accuracy and its speed hold"
        in notes
    )
    assert [machine["host"]["int8_target"] for machine in content["machines"]][1:] == ["arm", "arm"]
    assert kdtool("bench", "--compare", *files) == 0
    out = capsys.readouterr().out
    assert "A Pi" in out
    assert "void" in out
    assert "\x1b[31m" not in out


def test_throughput_of_machines_side_by_side(
    run: RunFolder, prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    changes = {"threads": 2, "single_thread": True, "batch": 2, "batches": 6}
    bench_run(run, prepared, SETTINGS.model_copy(update=changes), QUIET)
    other = json.loads(run.bench.read_text())
    for model in other["models"]:
        model["latency_ms"]["threads"] = model["throughput"]["threads"] = 4
        for offline in (model["throughput"], *model["other_throughputs"]):
            offline["images_per_s"] *= 3
            offline["images_per_s_ci"] = [3 * end for end in offline["images_per_s_ci"]]
        model["other_threads"][0]["p50"] *= 5
    other["models"][1]["throughput"]["batch"] = 8
    (tmp_path / "other.json").write_text(json.dumps(other))
    assert kdtool("bench", "--compare", run.path, tmp_path / "other.json", "--json") == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    found = {(row["model"], row["machine"], row["threads"]): row for row in rows}
    assert len(found) == len(rows) == 5 * 4
    own = read_bench(run.bench).model("teacher")
    for threads, machine_threads, offline in ((2, 4, own.throughput), (1, 1, own.other_throughputs[0])):
        here, there = found["teacher", 1, threads], found["teacher", 2, machine_threads]
        assert (here["images_per_s"], here["images_to_first"]) == (offline.images_per_s, None)
        assert (here["images_to_reference"], here["batch"]) == (1.0, 2)
        assert there["images_to_first"] == pytest.approx(3)
        assert there["images_to_first_ci"][0] <= 3 <= there["images_to_first_ci"][1]
    student = read_bench(run.bench).model("student")
    for threads, ends in ((2, student.latency_ms.ratio_ci), (1, student.other_threads[0].ratio_ci)):
        assert tuple(found["student", 1, threads]["to_reference_ci"]) == ends
    assert found["teacher", 2, 4]["to_first"] == pytest.approx(1)
    assert found["teacher", 2, 1]["to_first"] == pytest.approx(5)  # one thread against one
    assert found["student", 2, 4]["images_to_first"] is None  # batches of another size
    assert kdtool("bench", "--compare", run.path, tmp_path / "other.json") == 0
    assert "Images/s" in capsys.readouterr().out


def test_what_cannot_be_compared(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, cause in (
        ((), "needs bench.json files"),
        ((run.path,), "is not a result of kdtool bench"),
        ((run.record, run.record), "named twice"),
        ((run.record, "--quick", "--runtime", "openvino"), "--runtime, --quick: no effect"),
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
        (("--claim", "speed<=1"), "'speed<=1' is not a bound"),
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
    monkeypatch.setattr("kdtool.benchmark.stage.processor_name", lambda: "another")
    assert bench_run(run, prepared, SETTINGS, QUIET) != first


def test_another_onnxruntime_measures_again(
    run: RunFolder, prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = bench_run(run, prepared, SETTINGS, QUIET)
    monkeypatch.setattr("kdtool.benchmark.stage.versions_of", lambda names: dict.fromkeys(names, "99"))
    assert bench_run(run, prepared, SETTINGS, QUIET) != first


def test_without_data_latency_is_measured_and_no_accuracy_lost(run: RunFolder, prepared: Prepared) -> None:
    alone = bench_run(run, None, SETTINGS, QUIET)
    assert (alone.model("student").accuracy, alone.claim.verdict) == (None, "INCONCLUSIVE")
    assert "There were no test images, so accuracy was not measured." in alone.notes
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
    with pytest.raises(ModelFileError, match="gives 4 logits for 3 classes"):
        bench_run(run, prepared, SETTINGS, QUIET)


def test_a_model_that_answers_nan_fails_the_gate(run: RunFolder, prepared: Prepared) -> None:
    give(run, "student", np.full((3, 3), np.nan))
    with pytest.raises(GateError, match="NaN or infinity"):
        bench_run(run, prepared, SETTINGS, QUIET)


def test_int8_of_another_processor_is_noted(run: RunFolder, prepared: Prepared) -> None:
    info = ModelInfo(
        "student", "tiny", prepared.classes, prepared.preprocess, "int8", notes={"target": "abacus"}
    )
    run.onnx_model("student", "int8").write_bytes(classifier(info))
    result = bench_run(run, prepared, SETTINGS, QUIET)
    assert result.model("student-int8").target == "abacus"
    assert any("student-int8 was quantized for abacus" in note for note in result.notes)
    (speed,) = [note for note in result.notes if "student-int8 is" in note]
    assert speed.startswith(f"On {result.host}, ")
    assert "The file was made for abacus" in speed


def test_a_finetuned_model_is_noted_here_and_beside_other_machines(
    run: RunFolder, prepared: Prepared, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    info = ModelInfo(
        "student", "tiny", prepared.classes, prepared.preprocess, "int8", notes={"finetuned": "2 epochs"}
    )
    run.onnx_model("student", "int8").write_bytes(classifier(info))
    result = bench_run(run, prepared, SETTINGS, QUIET)
    assert {model.name: model.finetuned for model in result.models if model.finetuned} == {
        "student-int8": "2 epochs"
    }
    note = "student-int8 was fine-tuned for INT8 (2 epochs) and student was not"
    assert sum(note in said for said in result.notes) == 1
    assert read_bench(run.bench) == result
    (tmp_path / "pi.json").write_bytes(run.bench.read_bytes())
    assert kdtool("bench", "--compare", run.path, tmp_path / "pi.json", "--json") == 0
    notes = json.loads(capsys.readouterr().out)["notes"]
    assert [said.partition(":")[0] for said in notes if note in said] == ["machine 1", "machine 2"]


def test_a_torn_bench_is_measured_again(run: RunFolder, prepared: Prepared) -> None:
    bench_run(run, prepared, SETTINGS, QUIET)
    run.bench.write_text("torn")
    assert bench_run(run, prepared, SETTINGS, QUIET).model("student").accuracy == 1.0
    stage = Stage("bench", run.path, {}, "bench.manifest.json")
    assert read_manifest(stage.manifest_path) is not None
