"""kdtool predict."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from PIL import Image

from fixtures.commands import kdtool
from fixtures.runs.onnxmodels import CLASSES, SETTINGS, SIDE, classifier, give, source_of, taking_pixels
from kdtool.benchmark.stage import bench_run
from kdtool.core.modelinfo import METADATA_KEY, ModelInfo
from kdtool.core.preprocess import Preprocess
from kdtool.core.screen import QUIET
from kdtool.data.reader import Prepared
from kdtool.runs.folder import RunFolder


def test_predictions_name_each_models_answer(run: RunFolder, prepared: Prepared) -> None:
    bench_run(run, prepared, SETTINGS, QUIET)
    with run.predictions.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [*rows[0]][:4] == ["path", "label", "teacher", "teacher_probability"]
    assert [row["path"] for row in rows] == list(prepared.split("test").paths)
    assert all(row["student"] == row["label"] for row in rows)
    assert {row["baseline"] for row in rows} == {"blue"}
    assert all(1 / 3 <= float(row["student_probability"]) <= 1 for row in rows)


def test_a_renamed_picture_renews_the_predictions(run: RunFolder, prepared: Prepared) -> None:
    bench_run(run, prepared, SETTINGS, QUIET)
    assert "renamed" not in run.predictions.read_text()
    samples = run.data / "samples.csv"
    samples.write_text(samples.read_text().replace("/red/0.png", "/red/renamed.png"))
    bench_run(run, replace(prepared), SETTINGS, QUIET)  # another process opens the data anew
    assert "/red/renamed.png" in run.predictions.read_text()


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


def test_predict_with_the_variant_that_takes_pixels(
    run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture, plain, pixels = source_of(run) / "test", run.onnx_model("student"), tmp_path / "uint8.onnx"
    pixels.write_bytes(taking_pixels(plain))
    assert kdtool("predict", picture, "--model", plain) == 0
    expected = capsys.readouterr().out
    assert kdtool("predict", picture, "--model", pixels) == 0
    assert capsys.readouterr().out == expected


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
    assert "empty: no photographs in this folder" in " ".join(err.split())
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
