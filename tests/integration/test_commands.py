"""The commands as a user gives them, on a few tiny photographs: what they leave, print and exit with."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.commands import kdtool
from kdtool.core.files import sha256_file
from kdtool.runs.lock import run_lock

ARCH = "timm/test_resnet"
TINY = {
    "data.size": "32",
    "teacher.arch": ARCH,
    "teacher.weights": "none",
    "teacher.epochs": "3",
    "teacher.lr": "0.01",
    "teacher.batch_size": "16",
    "student.arch": ARCH,
    "student.epochs": "3",
    "student.lr": "0.01",
    "student.batch_size": "16",
    "quantize.max_drop": "100",
    "bench.runs": "64",
    "bench.seconds": "0",
    "bench.cold_starts": "0",
    "bench.batch": "2",
    "bench.batches": "6",
    "bench.resamples": "1000",
}
SETTINGS = [part for key, value in TINY.items() for part in ("--set", f"{key}={value}")]


def hashes(run: Path) -> dict[str, str]:
    """Of every file that training and export leave, but for times measured."""
    names = [*run.glob("*/model.safetensors"), *run.glob("onnx/*.onnx")]
    return {str(path.relative_to(run)): sha256_file(path) for path in names}


def test_one_command_takes_photographs_all_the_way(
    tmp_path: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert kdtool("run", source, "--out", run, "--baseline", *SETTINGS) == 0
    printed = capsys.readouterr()
    for word in ("teacher", "student", "baseline", "teacher-int8", "student-int8", "report.html"):
        assert word in printed.out
    first = printed.err.splitlines()[0]
    assert first.startswith(
        f"Training {ARCH} from scratch, taught by {ARCH} (scratch), at 32 pixels as recipe paper"
    )
    assert f"kdtool init {source} --time 1h" in first
    ship, verdict = printed.out.index(f"\nShip {run}/onnx/student"), printed.out.index("The claim ")
    assert ship < printed.out.index(f"kdtool bundle {run}") < verdict
    for name in (
        "run.json",
        *(f"{role}/{file}" for role in ("teacher", "student", "baseline")
          for file in ("model.safetensors", "history.csv", "curves.png", "manifest.json")),
        *(f"onnx/{name}.onnx" for name in ("teacher", "student", "baseline", "teacher.int8", "student.int8")),
        "bench.json",
        "report.html",
    ):  # fmt: skip
        assert (run / name).is_file(), name
    assert not list(run.rglob("*.data")), "no external data"
    assert not list(run.rglob("*.partial")), "no temporary file"
    bench = json.loads((run / "bench.json").read_text())
    assert [model["name"] for model in bench["models"]] == [
        "teacher", "student", "baseline", "teacher-int8", "student-int8",
    ]  # fmt: skip
    assert bench["claim"]["verdict"] in ("PASS", "FAIL", "INCONCLUSIVE")

    before = hashes(run)
    assert kdtool("run", source, "--out", run, "--baseline", *SETTINGS) == 0
    again = capsys.readouterr()
    assert again.err.count("complete, skipped") >= 8, again.err
    assert hashes(run) == before

    other = tmp_path / "other"
    assert kdtool("run", source, "--out", other, "--baseline", *SETTINGS) == 0
    assert hashes(other) == before, "equal inputs give equal files"


def test_stage_by_stage_on_the_newest_run(
    tmp_path: Path, source: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert kdtool("teach", source, *SETTINGS) == 0
    assert kdtool("distill") == 0
    assert "Continuing artifacts/paper" in capsys.readouterr().err
    assert kdtool("export", "--onnx") == 0
    assert kdtool("quantize") == 0
    capsys.readouterr()
    assert kdtool("bench", "--json") == 0
    assert json.loads(capsys.readouterr().out)["claim"]["verdict"]
    assert kdtool("report") == 0
    assert capsys.readouterr().out.strip() == "artifacts/paper/report.html"
    image = next(source.glob("test/*/*.png"))
    assert kdtool("predict", image) == 0
    out = capsys.readouterr().out
    assert any(name in out for name in ("checks", "rings", "stripes"))


def test_a_longer_student_than_before(tmp_path: Path, source: Path) -> None:
    run = tmp_path / "run"
    assert kdtool("distill", source, "--out", run, *SETTINGS) == 0
    teacher, student = (
        sha256_file(run / "teacher/model.safetensors"),
        (run / "student/history.csv").read_text(),
    )
    assert kdtool("distill", source, "--out", run, *SETTINGS, "--set", "student.epochs=4") == 0
    assert sha256_file(run / "teacher/model.safetensors") == teacher
    longer = (run / "student/history.csv").read_text()
    before, after = (  # the column `kept` may say another epoch
        [row.rpartition(",")[0] for row in history.splitlines()] for history in (student, longer)
    )
    assert after[: len(before)] == before
    assert len(after) == len(before) + 1


def test_a_baseline_stays_on_the_students_budget(tmp_path: Path, source: Path) -> None:
    run = tmp_path / "run"
    assert kdtool("distill", source, "--out", run, "--baseline", *SETTINGS) == 0
    assert kdtool("distill", source, "--out", run, *SETTINGS, "--set", "student.epochs=5") == 0
    lengths = [len((run / role / "history.csv").read_text().splitlines()) for role in ("student", "baseline")]
    assert lengths == [6, 6]


def test_a_student_needs_the_photographs_no_more(tmp_path: Path, source: Path) -> None:
    run, moved = tmp_path / "run", tmp_path / "moved"
    assert kdtool("teach", source, "--out", run, *SETTINGS) == 0
    source.rename(moved)
    assert kdtool("distill", "--out", run) == 0
    assert (run / "student/model.safetensors").is_file()
    assert kdtool("teach", moved, "--out", run) == 0, "the same photographs from another place"


def test_other_photographs_from_another_place_are_refused(
    tmp_path: Path, source: Path, photos: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert kdtool("teach", source, "--out", run, *SETTINGS) == 0
    before = hashes(run)
    others = photos(splits={"train": 7, "validation": 4, "test": 4}, name="others")
    assert kdtool("teach", others, "--out", run) == 2
    assert "was trained on other photographs" in capsys.readouterr().err
    assert hashes(run) == before


def test_what_was_set_later_is_recorded(tmp_path: Path, source: Path) -> None:
    run = tmp_path / "run"
    assert kdtool("teach", source, "--out", run, *SETTINGS) == 0
    assert kdtool("export", "--onnx", run, "--set", "export.opset=20") == 0
    assert json.loads((run / "run.json").read_text())["recipe"]["export"]["opset"] == 20
    onnx = sha256_file(run / "onnx/teacher.onnx")
    assert kdtool("export", "--onnx", run) == 0
    assert sha256_file(run / "onnx/teacher.onnx") == onnx


def test_new_photographs_are_never_trained_on_stale_ones(
    tmp_path: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert kdtool("teach", source, "--out", run, *SETTINGS) == 0
    before = hashes(run)
    one, two = sorted((source / "train" / "rings").glob("*.png"))[:2]
    one.write_bytes(two.read_bytes())
    assert kdtool("teach", source, "--out", run, *SETTINGS) == 0
    assert "complete, skipped" not in capsys.readouterr().err
    assert hashes(run) != before


def test_dry_run_writes_nothing(tmp_path: Path, source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    assert kdtool("run", source, "--out", run, "--baseline", "--dry-run", *SETTINGS) == 0
    out = capsys.readouterr().out
    for word in (
        "prepare",
        "teacher",
        "label",
        "student",
        "baseline",
        "export",
        "quantize",
        "bench",
        "report",
        "MB",
    ):
        assert word in out
    assert not run.exists()
    assert kdtool("distill", source, "--out", run, *SETTINGS) == 0
    planned = [line.split() for line in out.splitlines() if "photographs" in line]
    prepared = json.loads((run / "data" / "data.json").read_text())["counts"]
    assert str(sum(prepared.values())) in planned[0]
    capsys.readouterr()
    longer = ("--set", "student.epochs=9", "--dry-run")
    assert kdtool("distill", source, "--out", run, *SETTINGS, *longer) == 0
    again = {line.split()[1]: line for line in capsys.readouterr().out.splitlines() if "│" in line}
    assert "done" in again["teacher"]
    assert "to do" in again["student"]


def test_a_trained_teacher_from_elsewhere(tmp_path: Path, source: Path) -> None:
    assert kdtool("teach", source, "--out", tmp_path / "one", *SETTINGS) == 0
    file = tmp_path / "one/teacher/model.safetensors"
    command = (
        "distill",
        source,
        "--out",
        tmp_path / "two",
        "--recipe",
        "paper",
        "--teacher",
        file,
        *SETTINGS,
    )
    assert kdtool(*command) == 0
    before = hashes(tmp_path / "two")
    assert set(before) == {"teacher/model.safetensors", "student/model.safetensors"}
    assert kdtool(*command) == 0, "the same command again"
    assert hashes(tmp_path / "two") == before


def test_a_failed_int8_gate_does_not_cost_the_rest(
    tmp_path: Path, source: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from kdtool import pipeline
    from kdtool.core.errors import GateError

    def fail(*_: object) -> None:
        raise GateError("student.int8.onnx: dropped.", "raise the limit")

    monkeypatch.setattr(pipeline, "quantize", fail)
    run = tmp_path / "run"
    assert kdtool("run", source, "--out", run, *SETTINGS) == 6
    assert (run / "report.html").is_file()
    assert "The run continues without this INT8 model" in capsys.readouterr().err


def test_check_makes_the_verdict_the_exit_code(
    tmp_path: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same network as its own student has all of the compute: FAIL, whatever the accuracy."""
    run = tmp_path / "run"
    assert kdtool("run", source, "--out", run, "--check", *SETTINGS) == 6
    assert json.loads((run / "bench.json").read_text())["claim"]["verdict"] == "FAIL"
    assert kdtool("bench", run, "--check") == 6
    assert kdtool("bench", run) == 0
    capsys.readouterr()


@pytest.mark.parametrize(
    "arguments, code, message",
    [
        (["run", "{source}", "--recipe", "papr"], 2, "neither a recipe of kdtool"),
        (
            ["run", "{source}", "--out", "{source}/run"],
            2,
            "The run would be inside the folder of photographs",
        ),
        (["distill", "--out", "{empty}"], 2, "is not a run"),
        (["run", "{source}", "--seed", "99999999999999999999"], 2, "--seed"),
        (["run", "{source}", "--set", "teacher.lr=1e38"], 2, "teacher.lr"),
        (["run", "{source}", "--set", "teacher.lr=" + "[" * 5000], 2, "teacher.lr"),
        (
            ["teach", "{source}", "--teacher", "a.safetensors", "--teacher-weights", "none"],
            2,
            "would be ignored",
        ),
        (["run", "{source}", "--set", "student.epochs=-1"], 2, "student.epochs"),
        (["run", "no-such-place"], 2, "no-such-place"),
        (
            ["teach", "{source}", "--teacher", "resnet999", "--set", "data.size=32"],
            2,
            "No network is called 'resnet999'",
        ),
        (
            ["teach", "{source}", "--teacher-weights", "none.safetensors", "--set", "data.size=32"],
            4,
            "no such file",
        ),
        (
            ["distill", "{source}", "--teacher", "none.safetensors", "--set", "data.size=32"],
            4,
            "no such file",
        ),
        (["export", "{empty}"], 2, "Export to which format"),
        (["export", "--onnx", "{empty}"], 2, "is not a run"),
        (["quantize", "{empty}"], 2, "is not a run"),
        (["report", "{empty}"], 2, "is not a run"),
        (["exprot"], 2, "No such command"),
        (["run", "--frobnicate"], 2, "No such option"),
    ],
)
def test_errors_say_what_is_wrong_and_exit_as_documented(
    tmp_path: Path, source: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    arguments: list[str], code: int, message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    filled = [argument.format(source=source, empty=tmp_path / "empty") for argument in arguments]
    assert kdtool(*filled) == code
    err = capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err


def test_a_locked_run_is_not_touched(
    tmp_path: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with run_lock(tmp_path / "run"):
        assert kdtool("teach", source, "--out", tmp_path / "run", *SETTINGS) == 7
    assert "is in use by process" in capsys.readouterr().err


def test_imagenet_weights_offline(
    tmp_path: Path, source: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from urllib.error import URLError

    def offline(*_: object, **__: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr("torch.hub.urlopen", offline)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    assert kdtool("teach", source, "--out", tmp_path / "run", "--set", "data.size=32") == 5
    err = capsys.readouterr().err
    assert "The ImageNet weights of resnet34" in err
    assert "--teacher-weights FILE" in err


def test_a_defect_is_called_one(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kdtool.recipe.files.shipped_recipes", lambda: 1 / 0)
    assert kdtool("recipes") == 1
    err = capsys.readouterr().err
    assert "This is a defect of kdtool" in err
    assert "Traceback" not in err
    for arguments in (["--debug", "recipes"], ["recipes", "--debug"]):
        assert kdtool(*arguments) == 1
        assert "Traceback" in capsys.readouterr().err
