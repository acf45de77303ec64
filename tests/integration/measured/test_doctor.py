"""kdtool doctor."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from safetensors.numpy import save_file

from fixtures.commands import kdtool
from fixtures.runs.onnxmodels import BLIND, CLASSES, SIDE, classifier, give
from kdtool.core.files import sha256_file
from kdtool.core.modelinfo import METADATA_KEY, ModelInfo
from kdtool.core.preprocess import Preprocess
from kdtool.runs.folder import RunFolder
from kdtool.runs.stage import Stage

MACHINE = ("packages: ", "power: ", "heat: ", "disk: ")  # findings that are none of the run's


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
    assert kdtool("bench", run.path) == 6
    code, levels = findings(capsys, run.path)
    text = "\n".join(levels["warning"])
    assert code == 5
    assert any("teacher: it answers 'blue' for 100.0 % of the images" in text for text in levels["broken"])
    assert "label smoothing 0.1 and the temperature is 4" in text
    assert "The teacher is worse than its student (33.3 against 100.0 % of the test images)" in text


def teach(run: RunFolder, role: str, accuracy: float | None = 0.8, **changes: object) -> None:
    """Weights of a role with their record, and a manifest that knows their validation accuracy."""
    info = ModelInfo(role, "tiny", tuple(run.read_record()["classes"]), Preprocess(SIDE, SIDE))
    run.role(role).mkdir(exist_ok=True)
    save_file({"w": np.ones(1, np.float32)}, run.weights(role), replace(info, **changes).to_metadata())
    result = {} if accuracy is None else {"validation_accuracy": accuracy}
    teacher = run.weights("teacher")
    taught_by = {"teacher": sha256_file(teacher)} if teacher.is_file() else {}
    Stage("distill", run.role(role), taught_by).seal([run.weights(role).name], result, {})


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
        ({"name": "dist"}, 2, "dist with 2 classes"),
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


def test_doctor_warns_of_a_teacher_that_is_worse_than_its_student(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    teach(run, "teacher", 0.7)
    teach(run, "student", 0.8)
    code, levels = findings(capsys, run.path)
    assert code == 0
    expected = "(70.0 against 80.0 % of the validation images)"
    assert any(text.startswith("teacher: ") and expected in text for text in levels["warning"])


def test_a_network_of_no_use_goes_no_further(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    teach(run, "teacher", 0.8)
    teach(run, "student", 0.33)
    path = run.role("student") / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["result"] |= {"fault": "its accuracy is no better than chance", "cause": "it learned nothing"}
    path.write_text(json.dumps(manifest))
    code, levels = findings(capsys, run.path)
    assert code == 5
    assert any("the student is of no use: its accuracy is" in text for text in levels["broken"])
    for command in (("bench",), ("bundle",)):
        assert kdtool(*command, run.path) == 6
        assert "the student is of no use: its accuracy is no better than chance" in capsys.readouterr().err


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
    assert f"{run.weights('baseline')}: Its classes are not those of run.json: cyan, green differ" in text
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
