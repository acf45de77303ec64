"""kdtool bench: on runs, on loose files, with data from elsewhere, and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import onnx
import pytest

from fixtures.commands import kdtool
from fixtures.runs.onnxmodels import BLIND, SETTINGS, classifier, give, photographs, source_of, taking_pixels
from kdtool.benchmark.loose import bench_files
from kdtool.core.errors import DataError, UsageError
from kdtool.core.screen import QUIET
from kdtool.data.sources import load_listing
from kdtool.runs.folder import RunFolder
from kdtool.runs.lock import run_lock
from kdtool.runs.stage import read_manifest
from kdtool.runtime.onnxbytes.declared import onnx_info


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
    assert "Train one with --baseline" in capsys.readouterr().out


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
    photographs(tmp_path / "flat", {"": 2})
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
    assert (model.accuracy, result.claim.verdict) == (None, None)
    assert bench_files([path], None, SETTINGS, QUIET).models[0].macs is None


@pytest.mark.slow
def test_the_variant_that_takes_pixels_is_measured_beside_the_plain_file(
    run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, pixels = run.onnx_model("student"), tmp_path / "student.uint8.onnx"
    pixels.write_bytes(taking_pixels(plain))

    assert kdtool("bench", plain, pixels, "--data", source_of(run), "--runs", 64, "--json") == 0

    ours, other = json.loads(capsys.readouterr().out)["models"]
    assert (other["name"], other["role"]) == (str(pixels), "student")
    assert other["accuracy"] == ours["accuracy"] == 1.0
    assert other["own_process"]["cold_start_ms"] > 0  # it has started there


def test_a_foreign_file_with_its_channels_last_is_measured(run: RunFolder, tmp_path: Path) -> None:
    path = tmp_path / "last.onnx"
    model = onnx.load_model_from_string(classifier(None))
    given = model.graph.input[0]
    batch, _, height, width = [side.dim_value or "n" for side in given.type.tensor_type.shape.dim]
    for node in model.graph.node:
        node.input[:] = ["first" if name == given.name else name for name in node.input]
    model.graph.node.insert(0, onnx.helper.make_node("Transpose", [given.name], ["first"], perm=[0, 3, 1, 2]))
    shape = (batch, height, width, 3)
    given.CopyFrom(onnx.helper.make_tensor_value_info(given.name, onnx.TensorProto.FLOAT, shape))
    path.write_bytes(model.SerializeToString())
    like = onnx_info(run.onnx_model("student"))

    result = bench_files([path], load_listing(str(source_of(run))), SETTINGS, QUIET, like=like)

    assert result.models[0].accuracy == 1.0


def test_onnxruntimes_own_format_is_called_by_its_name(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run.onnx / "student.ort"
    path.write_bytes(b"\x18\0\0\0ORTM" + bytes(64))
    assert kdtool("bench", path) == 4
    err = " ".join(capsys.readouterr().err.split())
    assert "student.ort: this file has ONNX Runtime's own format (.ort), it is not ONNX." in err
    assert "Name the .onnx file beside it" in err


def test_no_bound_on_compute_passes_on_operators_that_are_not_counted(
    run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, fused = tmp_path / "plain.onnx", tmp_path / "fused.onnx"
    plain.write_bytes(classifier(None))
    model = onnx.load_model_from_string(classifier(None))
    model.graph.node[-1].op_type, model.graph.node[-1].domain = "FusedMatMul", "com.microsoft"
    model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    fused.write_bytes(model.SerializeToString())
    claim = ("--claim", "macs<=0.5", "--judge", fused, "--against", plain)

    assert kdtool("bench", plain, fused, *claim, "--quick", "--runs", 64, "--threads", 1, "--check") == 6

    out, err = capsys.readouterr()
    assert (
        f"{fused}: the compute is unknown, since kdtool does not count com.microsoft.FusedMatMul"
        in " ".join(err.split())
    )
    assert "INCONCLUSIVE" in out


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
    claim = ("--claim", "retention>=0.94")
    assert kdtool("bench", ours, foreign, *data, *claim, "--quick", "--json") == 0
    content = json.loads(capsys.readouterr().out)
    assert [model["accuracy"] for model in content["models"]] == [1.0, pytest.approx(1 / 3)]
    assert content["claim"]["verdict"] == "FAIL"
    (pair,) = content["differences"]
    assert (pair["model"], pair["against"], pair["n_images"]) == (str(foreign), "teacher", 30)
    assert kdtool("bench", ours, "--like", foreign, *data[:2]) == 2
    assert "states neither" in capsys.readouterr().err
    assert kdtool("bench", run.path, *data[:4]) == 2
    assert kdtool("bench", foreign, "--like", ours) == 2
    assert "has no effect" in capsys.readouterr().err


def test_classes_a_model_does_not_know_are_named(run: RunFolder) -> None:
    give(run, "student", None, classes=("blue", "green", "yellow"))
    with pytest.raises(DataError, match="does not know these classes of the data: red"):
        bench_files([run.onnx_model("student")], load_listing(str(source_of(run))), SETTINGS, QUIET)


def test_unreadable_photographs_are_named_at_once(run: RunFolder, tmp_path: Path) -> None:
    photographs(tmp_path / "flat", {"": 2})
    for name in ("red", "blue"):
        (tmp_path / "flat" / name / "0.png").write_bytes(b"no picture")
    with pytest.raises(
        DataError, match=r"(?s)2 photographs cannot be read.*blue/0\.png.*red/0\.png"
    ) as caught:
        bench_files([run.onnx_model("student")], load_listing(str(tmp_path / "flat")), SETTINGS, QUIET)
    assert caught.value.hint == "Repair or remove the photo file."


def test_unreadable_photographs_are_left_out_if_asked(
    run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photographs(tmp_path / "flat", {"": 2})
    (tmp_path / "flat" / "red" / "0.png").write_bytes(b"no picture")
    files, data = [run.onnx_model("teacher"), run.onnx_model("student")], ("--data", tmp_path / "flat")
    assert kdtool("bench", *files, *data, "--quick", "--json") == 3
    assert kdtool("bench", *files, *data, "--skip-bad", "--quick", "--json") == 0
    content = json.loads(capsys.readouterr().out)
    assert {model["n_images"] for model in content["models"]} == {5}
    assert "Left out, because unreadable: 1 of 6 photographs (red/0.png)." in content["notes"]
    for name in ("red", "blue", "green"):
        for photo in (tmp_path / "flat" / name).iterdir():
            photo.write_bytes(b"no picture")
    assert kdtool("bench", *files, *data, "--skip-bad") == 3
    assert kdtool("bench", *files, "--skip-bad") == 2
    assert "--skip-bad has no effect without --data" in capsys.readouterr().err


def test_files_without_a_claim_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [tmp_path / name for name in ("a.onnx", "b.onnx", "c.onnx")]
    for path in files:
        path.write_bytes(classifier(None))
    assert kdtool("bench", *files[:2], "--quick") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert not any(word in shown for word in ("PASS", "FAIL", "INCONCLUSIVE", "Claimed"))
    assert f"Measured: {files[1]} has 100 % of {files[0]}’s compute" in shown
    assert kdtool("bench", *files, "--quick", "--json") == 0
    content = json.loads(capsys.readouterr().out)
    assert (content["claim"]["verdict"], content["claim"]["bounds"]) == (None, [])
    assert all(model["latency_ms"]["ratio"] for model in content["models"])

    assert kdtool("bench", *files[:2], "--quick", "--claim", "macs<=1", "--check", "--json") == 0
    claim = json.loads(capsys.readouterr().out)["claim"]
    assert (claim["verdict"], claim["judged"], claim["reference"]) == ("PASS", str(files[1]), str(files[0]))
    assert kdtool("bench", files[0], "--quick", "--claim", "size_mb<=1", "--check") == 0
    assert kdtool("bench", *files, "--quick", "--claim", "macs<=1") == 2
    assert f"--judge {files[1]}" in " ".join(capsys.readouterr().err.split())
    assert kdtool("bench", *files, "--check") == 2
    assert "--check has no effect on ONNX files without a claim" in capsys.readouterr().err


def test_data_without_photographs(run: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "empty" / "red").mkdir(parents=True)
    with pytest.raises(DataError, match="no photographs"):
        bench_files([run.onnx_model("student")], load_listing(str(tmp_path / "empty")), SETTINGS, QUIET)
