"""`kdtool compare` as a user starts it, on a few tiny photographs: trainings, shared files, results."""

from __future__ import annotations

import csv
import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.commands import kdtool
from kdtool.compare import trainings
from kdtool.core.files import sha256_file
from kdtool.data.reader import Prepared, Split
from kdtool.runs.lock import run_lock
from kdtool.train.loop import fit

RECIPE = """
[data]
size = 32

[teacher]
arch = "timm/test_resnet"
weights = "none"
epochs = 2
lr = 0.01
batch_size = 16

[student]
arch = "timm/test_resnet"
epochs = 2
lr = 0.002
batch_size = 16
"""
KD = '[student.loss]\nname = "kd"\ntemperature = 2.0\n'
DKD = '[student.loss]\nname = "dkd"\nweight = 1.0\nce_weight = 1.0\n'
NKD = '[student.loss]\nname = "nkd"\n'


@pytest.fixture
def recipe(tmp_path: Path) -> Callable[..., Path]:
    """Function that writes a recipe file: recipe(name, text)."""

    def write(name: str, text: str) -> Path:
        path = tmp_path / f"{name}.toml"
        path.write_text(RECIPE + text)
        return path

    return write


@pytest.fixture
def two(recipe: Callable[..., Path]) -> str:
    return f"{recipe('kd', KD)},{recipe('dkd', DKD)}"


def files(folder: Path) -> dict[str, tuple[str, int]]:
    """Hash and time of each file except the lock."""
    return {
        str(path.relative_to(folder)): (sha256_file(path), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def table(folder: Path) -> list[dict[str, str]]:
    """Rows of compare-trainings.csv without the times."""
    with (folder / "compare-trainings.csv").open() as stream:
        return [{**row, "seconds": ""} for row in csv.DictReader(stream)]


def test_two_recipes_on_two_seeds(
    tmp_path: Path, source: Path, two: str, recipe: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "artifacts" / "compare"
    command = ("compare", source, "--out", out, "--seeds", "2")
    assert kdtool(*command, "--recipes", two) == 0
    printed = capsys.readouterr()
    for word in ("teacher", "baseline", "kd", "dkd", "vs baseline", "vs kd", "Best on validation"):
        assert word in printed.out
    assert "2 seeds are no evidence" in printed.out
    assert "[6/6] student of dkd, seed 1" in printed.err

    content = json.loads((out / "compare.json").read_text())
    assert content["schema"] == 1
    assert content["evaluated"] == "torch"
    assert content["seeds"] == [0, 1]
    assert content["plain_kd"] == ["kd"]
    assert content["test_images"] == 12
    assert content["host"]["processor"] and content["versions"]["torch"]
    assert {row["name"] for row in content["recipes"]} == {"kd", "dkd"}
    means = [row["validation"]["mean"] for row in content["recipes"]]
    assert means == sorted(means, reverse=True)
    assert len(content["baselines"]) == 1, "one student, one budget"
    (baseline,) = content["baselines"]
    for row in content["recipes"]:
        assert row["baseline"] == row["gain"]["than"] == baseline["name"]
        differences = [
            100 * (run["test"] - alone["test"])
            for run, alone in zip(row["runs"], baseline["runs"], strict=True)
        ]
        assert row["gain"]["points"] == pytest.approx(sum(differences) / 2)
        low, high = row["gain"]["seeds_ci"]
        assert low <= row["gain"]["points"] <= high

    rows = table(out)
    assert [row["role"] for row in rows] == ["teacher", "baseline", "baseline", *["student"] * 4]
    with (out / "test" / "predictions.csv").open() as stream:
        predictions = list(csv.DictReader(stream))
    right = sum(row["student/dkd/seed-1"] == row["label"] for row in predictions) / len(predictions)
    (last,) = [row for row in rows if (row["name"], row["seed"]) == ("dkd", "1")]
    assert float(last["test_accuracy"]) == pytest.approx(right, abs=1e-6)
    assert (out / "students.json").is_file()
    assert (out / "compare.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in (out / "softlabels").iterdir()] == ["plain"], "computed once"

    before = files(out)
    assert kdtool(*command, "--recipes", two) == 0
    again = capsys.readouterr()
    assert again.out == printed.out
    assert again.err.count("complete, skipped") >= 8
    assert files(out) == before, "nothing is done twice"

    more = f"{two},{recipe('nkd', NKD)}"
    assert kdtool(*command, "--recipes", more) == 0
    after = files(out)
    assert all(after[name] == before[name] for name in before if name.startswith(("students/", "teacher/")))
    assert len(table(out)) == len(rows) + 2

    assert kdtool("doctor", out) == 0
    capsys.readouterr()
    assert kdtool(*command, "--recipes", more, "--json") == 0
    assert json.loads(capsys.readouterr().out) == json.loads((out / "compare.json").read_text())


def test_the_test_split_is_opened_after_every_training(
    tmp_path: Path, source: Path, recipe: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    split, distill, train_baseline = Prepared.split, trainings.distill, trainings.train_baseline

    def spied_split(self: Prepared, name: str) -> Split:
        events.append(name)
        return split(self, name)

    def spied(train: Callable[..., object]) -> Callable[..., object]:
        def wrapped(*arguments: object, **named: object) -> object:
            manifest = train(*arguments, **named)
            events.append("trained")
            return manifest

        return wrapped

    monkeypatch.setattr(Prepared, "split", spied_split)
    monkeypatch.setattr(trainings, "distill", spied(distill))
    monkeypatch.setattr(trainings, "train_baseline", spied(train_baseline))
    assert (
        kdtool("compare", source, "--out", tmp_path / "out", "--seeds", "2", "--recipes", recipe("kd", KD))
        == 0
    )
    assert events.count("trained") == 4
    last = len(events) - 1 - events[::-1].index("trained")
    assert "test" not in events[:last]
    assert "test" in events[last:]
    assert "train" not in events[last:]


def test_stopped_in_the_middle_it_goes_on_to_the_same_result(
    tmp_path: Path,
    source: Path,
    two: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert kdtool("compare", source, "--out", whole, "--seeds", "1", "--recipes", two) == 0
    count, steps = fit._count, []

    def counted(*arguments: object) -> None:
        count(*arguments)  # type: ignore[arg-type]  # the real one's arguments, passed on
        steps.append(1)
        if len(steps) == 11:  # two steps an epoch, two epochs a training: in the third
            signal.raise_signal(signal.SIGTERM)

    command = ("compare", source, "--out", out, "--seeds", "1", "--recipes", two)
    monkeypatch.setattr(fit, "_count", counted)
    assert kdtool(*command) == 143
    assert "Run the same command again to continue" in capsys.readouterr().err
    assert not (out / "test").exists()
    assert not (out / "compare.json").exists()
    monkeypatch.undo()
    assert kdtool(*command) == 0
    assert "resuming in epoch" in capsys.readouterr().err
    assert table(out) == table(whole)


def test_a_student_that_diverges_does_not_cost_the_others(
    tmp_path: Path, source: Path, two: str, recipe: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    out, bad = tmp_path / "out", recipe("bad", '[student.loss]\nname = "dist"\nweight = 1e39\n')
    assert kdtool("compare", source, "--out", out, "--seeds", "1", "--recipes", f"{bad},{two}") == 6
    printed = capsys.readouterr()
    assert "failed" in printed.out
    assert "Trainings of bad failed" in printed.err
    content = json.loads((out / "compare.json").read_text())
    assert [row["name"] for row in content["recipes"]][-1] == "bad"
    last = content["recipes"][-1]
    assert "the step was not applied" in last["runs"][0]["failed"]
    assert (last["test"], last["gain"], last["best"]) == (None, None, False)
    assert all(row["test"] for row in content["recipes"][:-1])
    (row,) = [row for row in table(out) if row["name"] == "bad"]
    assert (row["test_accuracy"], row["failed"]) == ("", last["runs"][0]["failed"])


def test_soft_labels_of_equal_views_are_computed_once_for_all_seeds(
    tmp_path: Path, source: Path, recipe: Callable[..., Path]
) -> None:
    out, flip = tmp_path / "out", "[student.augment]\nflip = true\n"
    recipes = (recipe("kd", KD + flip), recipe("dkd", DKD + flip))
    command = ("compare", source, "--out", out, "--seeds", "2", "--seed", "5")
    assert kdtool(*command, "--recipes", ",".join(map(str, recipes))) == 0
    (manifest,) = (out / "softlabels").glob("*/manifest.json")
    inputs = json.loads(manifest.read_text())["inputs"]
    assert inputs["seed"] == 5, "the views are those of the first seed"
    assert inputs["views"] == 2, "one an epoch"
    content = json.loads((out / "compare.json").read_text())
    assert content["seeds"] == [5, 6]
    assert len(content["baselines"]) == 1


def test_more_epochs_go_on_from_what_is_there(
    tmp_path: Path, source: Path, recipe: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    flip = "[student.augment]\nflip = true\n"
    command = ("compare", source, "--seeds", "1", "--recipes", recipe("kd", KD + flip))
    longer = (*command, "--set", "student.epochs=3")
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert kdtool(*longer, "--out", whole) == 0
    assert kdtool(*command, "--out", out) == 0
    before = files(out)
    capsys.readouterr()
    assert kdtool(*longer, "--out", out, "--dry-run") == 0
    assert "label" in "".join(line for line in capsys.readouterr().out.splitlines() if "to do" in line)
    assert kdtool(*longer, "--out", out) == 0
    assert capsys.readouterr().err.count("resuming in epoch 3, step 1") == 2, "student and baseline"
    assert table(out) == table(whole)
    after = files(out)
    stored = [name for name in before if name.startswith("softlabels/") and name.endswith(".npy")]
    assert len(stored) == 3, "validation and two views"
    assert [after[name] for name in stored] == [before[name] for name in stored]
    assert len(list((out / "softlabels").iterdir())) == 1


def test_a_baseline_has_the_epochs_of_its_recipe(
    tmp_path: Path, source: Path, recipe: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    recipe("short", KD)
    text = (tmp_path / "short.toml").read_text()
    (tmp_path / "long.toml").write_text(
        text.replace('resnet"\nepochs = 2\nlr = 0.002', 'resnet"\nepochs = 3\nlr = 0.002')
    )
    both = [str(tmp_path / f"{name}.toml") for name in ("short", "long")]
    for recipes in (both[1:], both):  # the longer first: it must not be where the shorter begins
        assert kdtool("compare", source, "--out", out, "--seeds", "1", "--recipes", ",".join(recipes)) == 0
        content = json.loads((out / "compare.json").read_text())
        budgets = {row["name"]: row["runs"][0]["epochs"] for row in content["baselines"]}
        for row in content["recipes"]:
            assert budgets[row["baseline"]] == row["runs"][0]["epochs"] == row["budget"]
            assert row["over_kd"] is None


def test_a_folder_holds_a_run_or_a_comparison(
    tmp_path: Path, source: Path, recipe: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run, out, kd = tmp_path / "run", tmp_path / "out", recipe("kd", KD)
    assert kdtool("teach", source, "--out", run, "--recipe", kd) == 0
    assert kdtool("compare", source, "--out", out, "--seeds", "1", "--recipes", kd) == 0
    before = files(run), files(out)
    teacher = run / "teacher" / "model.safetensors"
    for extra in ((), ("--dry-run",)):
        capsys.readouterr()
        assert kdtool("compare", source, "--out", run, "--recipes", kd, *extra) == 2
        said = " ".join(capsys.readouterr().err.split())
        assert "is the folder of a run, not of a comparison" in said
        assert f"--out DIR --teacher {teacher}" in said
    for command in (
        *((name, source, "--out", out, "--recipe", kd) for name in ("run", "teach", "distill")),
        ("distill", "--out", out),
        ("export", "--onnx", out),
        *((name, out) for name in ("quantize", "bench", "report")),
    ):
        capsys.readouterr()
        assert kdtool(*command) == 2, command
        assert "is the folder of a comparison, not of a run" in " ".join(capsys.readouterr().err.split())
    assert (files(run), files(out)) == before


def test_a_comparison_whose_teacher_was_not_finished_goes_on(
    tmp_path: Path, source: Path, recipe: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    count, steps = fit._count, []

    def stopped(*arguments: object) -> None:
        count(*arguments)  # type: ignore[arg-type]  # the real one's arguments, passed on
        steps.append(1)
        if len(steps) == 1:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(fit, "_count", stopped)
    out = tmp_path / "out"
    command = ("compare", source, "--out", out, "--seeds", "1", "--recipes", recipe("kd", KD))
    assert kdtool(*command) == 143
    assert kdtool("distill", "--out", out) == 2
    assert kdtool(*command) == 0


def test_doctor_looks_at_every_student(
    tmp_path: Path, source: Path, recipe: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    # of three classes, standardized: at this temperature none is ever likelier than a half
    flat = '[student.loss]\nname = "{}"\nstandardize = true\ntemperature = 9.0\n'
    recipes = [recipe(f"{name}-flat", flat.format(name)) for name in ("kd", "dkd")]
    listed = ",".join(map(str, [recipe("kd", KD), *recipes]))
    assert kdtool("compare", source, "--out", out, "--seeds", "1", "--recipes", listed) == 0
    capsys.readouterr()
    assert kdtool("doctor", out, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    (advice,) = [one for one in found if "highest probability" in one["text"]]
    assert (advice["level"], advice["about"]) == ("warning", "recipe (kd-flat, dkd-flat)")
    assert "kdtool compare DATA" in advice["fix"]
    (baseline,) = (out / "baselines").glob("*/seed-0/history.csv")
    torn = [out / "students/dkd-flat/seed-0/model.safetensors", baseline]
    torn += list((out / "softlabels" / "plain").glob("train*.npy"))
    for path in torn:
        path.write_text("torn")
    assert kdtool("doctor", out, "--json") == 5
    broken = [one for one in json.loads(capsys.readouterr().out) if one["level"] == "broken"]
    assert {one["about"] for one in broken} == {str(path.parent / "manifest.json") for path in torn}
    (out / "students.json").write_text("{")
    assert kdtool("doctor", out, "--json") == 5
    about = [one["about"] for one in json.loads(capsys.readouterr().out) if one["level"] == "broken"]
    assert str(out / "students.json") in about


def test_a_teacher_that_is_brought(tmp_path: Path, source: Path, recipe: Callable[..., Path]) -> None:
    first, out = tmp_path / "first", tmp_path / "out"
    command = ("compare", source, "--seeds", "1", "--recipes", recipe("kd", KD))
    assert kdtool(*command, "--out", first) == 0
    teacher = first / "teacher" / "model.safetensors"
    assert kdtool(*command, "--out", out, "--teacher", teacher) == 0
    assert sha256_file(out / "teacher" / "model.safetensors") == sha256_file(teacher)
    assert table(out) == table(first), "its accuracies on validation and test among them"


def test_dry_run_counts_the_trainings_and_writes_nothing(
    tmp_path: Path, source: Path, recipe: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    out, hints = tmp_path / "out", recipe("fitnet", KD + '[student.features]\nname = "fitnet"\n')
    command = ("compare", source, "--out", out, "--recipes", f"{recipe('kd', KD)},{hints}")
    assert kdtool(*command, "--dry-run") == 0
    printed = " ".join(capsys.readouterr().out.split())  # the title is folded
    assert "9 trainings" in printed
    for word in ("prepare", "teacher", "label plain", "kd", "fitnet", "baseline", "3 ×"):
        assert word in printed
    assert not out.exists()
    assert kdtool(*command, "--seeds", "1") == 0
    capsys.readouterr()
    assert kdtool(*command, "--seeds", "1", "--dry-run") == 0
    planned = [line for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    assert not [line for line in planned if "to do" in line]


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("no-such", "--recipes: 'no-such': neither a recipe of kdtool"),
        ("a path, with a comma.toml", "Commas separate recipes"),
        ("kd.toml", "more than one recipe has the name kd;"),
        ("vitkd.toml", "vitkd: student.features"),
        ("arch.toml", "arch: No network is called 'resnet1'"),
        ("loss.toml", "loss: student.loss"),
    ],
)
def test_what_is_wrong_is_said_before_any_photograph_is_decoded(
    tmp_path: Path,
    source: Path,
    two: str,
    recipe: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    extra: str,
    message: str,
) -> None:
    recipe("vitkd", '[student.features]\nname = "vitkd"\n')
    recipe("loss", '[student.loss]\nname = "kd"\nbeta = 1.0\n')
    unknown = RECIPE.replace('[student]\narch = "timm/test_resnet"', '[student]\narch = "resnet1"')
    (tmp_path / "arch.toml").write_text(unknown)
    last = tmp_path / extra if extra.endswith(".toml") else extra
    assert kdtool("compare", source, "--out", tmp_path / "out", "--recipes", f"{two},{last}") == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_no_recipe_at_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert kdtool("compare", "--recipes", " , ") == 2
    assert "--recipes names no recipe" in capsys.readouterr().err


def test_other_settings_want_another_folder(
    tmp_path: Path, source: Path, two: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = ("compare", source, "--out", out, "--seeds", "1", "--recipes", two)
    assert kdtool(*command) == 0
    before = files(out)
    for extra in ((), ("--dry-run",)):
        assert kdtool(*command, "--set", "student.lr=0.5", *extra) == 2
        assert "kd: lr: 0.002 in the folder, 0.5 in the recipe" in capsys.readouterr().err
    assert kdtool(*command, "--set", "teacher.lr=0.5") == 2
    assert "teacher.lr" in capsys.readouterr().err
    assert files(out) == before
    with run_lock(out):
        assert kdtool(*command) == 7
    source.rename(tmp_path / "moved")
    assert kdtool("compare", *command[2:]) == 0, "the photographs are needed no more"
