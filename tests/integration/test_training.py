"""Training of teacher, student and baseline on a few tiny images, with real files and real signals."""

from __future__ import annotations

import csv
import dataclasses
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from fixtures.screens import Recorder
from kdtool.arch.network import load_network, save_network
from kdtool.core.errors import GateError, Interrupted, ModelFileError
from kdtool.core.files import sha256_file
from kdtool.core.screen import QUIET
from kdtool.data.reader import Prepared
from kdtool.recipe.choices import Calibration
from kdtool.recipe.settings import AugmentSettings, StudentSettings, TeacherSettings
from kdtool.recipe.terms import LossSettings
from kdtool.runs.folder import RunFolder
from kdtool.runs.lineage import outdated
from kdtool.train.int8.fakequant import Int8
from kdtool.train.int8.quantaware import finetune
from kdtool.train.loop import evaluate as evaluate_module
from kdtool.train.loop import fit
from kdtool.train.loop.checkpoint import Checkpoints
from kdtool.train.stage import training_examples
from kdtool.train.student import distill, train_baseline
from kdtool.train.teaching.softlabels import store_soft_labels
from kdtool.train.teaching.teacher import Teacher, copy_teacher, open_teacher, teach

ARCH = "timm/test_resnet"
TEACHER = TeacherSettings(arch=ARCH, weights="none", epochs=3, lr=1e-2, batch_size=16)
STUDENT = StudentSettings(
    arch=ARCH, epochs=3, patience=0, lr=1e-2, batch_size=16, loss=LossSettings(name="kd", temperature=2.0)
)


def history(folder: Path) -> list[dict[str, str]]:
    with (folder / "history.csv").open() as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def taught(tmp_path: Path, prepared: Prepared) -> RunFolder:
    run = RunFolder(tmp_path / "run")
    teach(run, prepared, TEACHER, 0, QUIET)
    return run


def test_a_teacher_learns_and_keeps_its_best_epoch(taught: RunFolder, prepared: Prepared) -> None:
    rows = history(taught.role("teacher"))
    accuracies = [float(row["validation_accuracy"]) for row in rows]
    assert len(rows) == TEACHER.epochs
    assert max(accuracies) > 1.5 / len(prepared.classes), "better than guessing"
    assert (taught.role("teacher") / "curves.png").read_bytes().startswith(b"\x89PNG")
    network, info = load_network(taught.weights("teacher"))
    split = prepared.split("validation")
    with torch.no_grad():
        logits = network(torch.from_numpy(info.preprocess.normalize(np.array(split.images))))
    assert (logits.argmax(1).numpy() == split.labels).mean() == pytest.approx(max(accuracies))
    assert info.classes == prepared.classes
    assert info.params == sum(parameter.numel() for parameter in network.parameters())


def test_student_and_baseline_share_all_but_the_teacher(taught: RunFolder, prepared: Prepared) -> None:
    distill(taught, prepared, STUDENT, 0, QUIET)
    train_baseline(taught.role("baseline"), prepared, STUDENT, 0, QUIET)
    assert taught.trained_roles() == ("teacher", "student", "baseline")
    assert sha256_file(taught.weights("student")) != sha256_file(taught.weights("baseline"))
    alone = StudentSettings(
        **{**STUDENT.model_dump(), "loss": {"name": "kd", "weight": 0.0, "ce_weight": 1.0}}
    )
    other = RunFolder(taught.path.parent / "other")
    other.role("teacher").mkdir(parents=True)
    other.weights("teacher").write_bytes(taught.weights("teacher").read_bytes())
    distill(other, prepared, alone, 0, QUIET)
    student, baseline = load_file(other.weights("student")), load_file(taught.weights("baseline"))
    assert all(torch.equal(student[name], baseline[name]) for name in baseline), (
        "weight 0 is no teacher at all"
    )


def test_a_complete_stage_is_skipped(taught: RunFolder, prepared: Prepared) -> None:
    before = sha256_file(taught.weights("teacher"))
    screen = Recorder()
    teach(taught, prepared, TEACHER, 0, screen)
    assert any("teacher: complete, skipped" in line for line in screen.lines)
    assert sha256_file(taught.weights("teacher")) == before


def test_more_epochs_extend_to_what_they_would_have_been(
    taught: RunFolder, prepared: Prepared, tmp_path: Path
) -> None:
    longer = TEACHER.model_copy(update={"epochs": 5})
    teach(taught, prepared, longer, 0, QUIET)
    fresh = RunFolder(tmp_path / "fresh")
    teach(fresh, prepared, longer, 0, QUIET)
    assert sha256_file(taught.weights("teacher")) == sha256_file(fresh.weights("teacher"))
    assert len(history(taught.role("teacher"))) == 5


def test_patience_stops(tmp_path: Path, prepared: Prepared) -> None:
    run = RunFolder(tmp_path / "run")
    frozen = TEACHER.model_copy(update={"epochs": 9, "patience": 2, "lr": 1e-30})
    teach(run, prepared, frozen, 0, QUIET)
    rows = history(run.role("teacher"))
    best = max(range(len(rows)), key=lambda index: (float(rows[index]["validation_accuracy"]), -index))
    assert len(rows) == best + 1 + 2 < 9


def test_soft_labels_are_the_teachers_logits_and_never_of_the_test_split(
    taught: RunFolder, prepared: Prepared, tmp_path: Path
) -> None:
    teacher, info = load_network(taught.weights("teacher"))
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    folder = tmp_path / "soft"
    task = training_examples(prepared, STUDENT, 0)
    soft = store_soft_labels(Teacher(taught.weights("teacher"), teacher, info), prepared, task, folder, QUIET)
    assert set(soft.logits) == {"train", "validation"}
    assert not (folder / "test.npy").exists()
    split = prepared.split("train")
    with torch.no_grad():
        online = teacher.eval()(torch.from_numpy(info.preprocess.normalize(np.array(split.images)))).numpy()
    np.testing.assert_allclose(soft.logits["train"][:, 0], online, atol=1e-4)
    assert all(torch.equal(before[name], value) for name, value in teacher.state_dict().items())


def test_soft_labels_are_computed_with_the_threads_of_training_whatever_came_before(
    taught: RunFolder, prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = torch.get_num_threads()
    monkeypatch.setattr(evaluate_module, "usable_threads", lambda: 3)
    try:
        torch.set_num_threads(1)
        teach(taught, prepared, TEACHER, 0, QUIET)  # complete: skipped
        store_soft_labels(
            open_teacher(taught, prepared),
            prepared,
            training_examples(prepared, STUDENT, 0),
            taught.soft_labels,
            QUIET,
        )
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_finetuning_for_int8_leaves_the_soft_labels_as_they_are(
    taught: RunFolder, prepared: Prepared
) -> None:
    own = STUDENT.model_copy(update={"epochs": 1, "augment": AugmentSettings(flip=True)})
    distill(taught, prepared, own, 0, QUIET)
    finetune(taught, prepared, own, 2, 1e-3, Int8(False, True, True), Calibration.MINMAX, 0, QUIET)
    assert outdated(taught) == []


def test_a_teacher_whose_logits_are_nan_is_refused(
    taught: RunFolder, prepared: Prepared, tmp_path: Path
) -> None:
    teacher, info = load_network(taught.weights("teacher"))
    with torch.no_grad():
        next(teacher.parameters()).fill_(float("nan"))
    task = training_examples(prepared, STUDENT, 0)
    with pytest.raises(GateError, match="the teacher's logits are NaN or infinite"):
        store_soft_labels(
            Teacher(taught.weights("teacher"), teacher, info), prepared, task, tmp_path / "soft", QUIET
        )
    assert not (tmp_path / "soft" / "manifest.json").exists()


def test_a_smoothed_teacher_and_a_high_temperature_are_warned_of(tmp_path: Path, prepared: Prepared) -> None:
    run = RunFolder(tmp_path / "run")
    teach(run, prepared, TEACHER.model_copy(update={"label_smoothing": 0.1, "epochs": 1}), 0, QUIET)
    hot = StudentSettings(**{**STUDENT.model_dump(), "epochs": 1, "loss": {"name": "kd", "temperature": 4.0}})
    screen = Recorder()
    distill(run, prepared, hot, 0, screen)
    assert any("label smoothing 0.1 and the temperature is 4:" in line for line in screen.lines)


def test_label_smoothing_reaches_the_loss(tmp_path: Path, prepared: Prepared) -> None:
    plain, smoothed = RunFolder(tmp_path / "plain"), RunFolder(tmp_path / "smoothed")
    one = TEACHER.model_copy(update={"epochs": 1})
    teach(plain, prepared, one, 0, QUIET)
    teach(smoothed, prepared, one.model_copy(update={"label_smoothing": 0.3}), 0, QUIET)
    assert (
        history(plain.role("teacher"))[0]["train_loss"] != history(smoothed.role("teacher"))[0]["train_loss"]
    )
    assert load_network(smoothed.weights("teacher"))[1].label_smoothing == 0.3


def test_bringing_a_teacher(taught: RunFolder, prepared: Prepared, tmp_path: Path) -> None:
    other = RunFolder(tmp_path / "other")
    copy_teacher(other, prepared, taught.weights("teacher"), QUIET)
    assert load_file(other.weights("teacher")).keys() == load_file(taught.weights("teacher")).keys()
    screen = Recorder()
    copy_teacher(other, prepared, taught.weights("teacher"), screen)
    assert screen.lines == ["teacher: complete, skipped (copy of a trained file)."]
    copy_teacher(other, prepared, tmp_path / "gone.safetensors", screen)
    assert screen.lines[1:] == ["teacher: complete, skipped (copy of a trained file)."], (
        "the run has its own copy"
    )
    with pytest.raises(ModelFileError, match=r"gone\.safetensors: no such file"):
        copy_teacher(RunFolder(tmp_path / "third"), prepared, tmp_path / "gone.safetensors", QUIET)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"classes": ("one", "two", "three")}, "are not the 3 classes of the data"),
        ({"preprocess": "larger"}, "its input has 64 pixels"),
        ({"classes": "reversed"}, "in another order"),
    ],
)
def test_a_teacher_that_does_not_fit(
    taught: RunFolder, prepared: Prepared, tmp_path: Path, change: dict, message: str
) -> None:
    network, info = load_network(taught.weights("teacher"))
    if change.get("preprocess"):
        change = {"preprocess": dataclasses.replace(info.preprocess, size=64, resize=64)}
    if change.get("classes") == "reversed":
        change = {"classes": tuple(reversed(info.classes))}
    file = tmp_path / "teacher.safetensors"
    save_network(file, network.state_dict(), dataclasses.replace(info, **change))
    with pytest.raises(ModelFileError, match=message):
        copy_teacher(RunFolder(tmp_path / "other"), prepared, file, QUIET)


def test_a_loss_that_is_not_finite_stops_before_the_step(
    tmp_path: Path, prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(tmp_path / "run")
    with pytest.raises(
        GateError, match=r"teacher: loss (nan|inf).*epoch \d+, step \d+; the step was not applied"
    ):
        teach(run, prepared, TEACHER.model_copy(update={"lr": 1e30}), 0, QUIET)
    assert not (run.role("teacher") / "manifest.json").exists()


def test_a_network_that_is_lost_after_the_last_step_is_no_teacher(tmp_path: Path, prepared: Prepared) -> None:
    """There is one step in each epoch; its loss was finite, but the weights after it are not."""
    run = RunFolder(tmp_path / "run")
    lost = TEACHER.model_copy(update={"lr": 1e30, "epochs": 1, "batch_size": 24})
    with pytest.raises(GateError, match=r"teacher: validation loss (nan|inf) after epoch 1") as caught:
        teach(run, prepared, lost, 0, QUIET)
    assert "--set teacher.lr=" in caught.value.hint
    assert run.trained_roles() == ()


def test_a_stop_between_two_steps_resumes_to_the_same_bits(
    tmp_path: Path, prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, parts = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "parts")
    teach(whole, prepared, TEACHER, 0, QUIET)
    steps = 0
    count = fit._count

    def stop_after_two(*arguments: object) -> None:
        nonlocal steps
        count(*arguments)
        steps += 1
        if steps == 2:
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(fit, "_count", stop_after_two)
        with pytest.raises(Interrupted) as caught:
            teach(parts, prepared, TEACHER, 0, QUIET)
    assert caught.value.exit_code == 143
    assert parts.trained_roles() == ()
    screen = Recorder()
    teach(parts, prepared, TEACHER, 0, screen)
    assert any("resuming in epoch 1, step 3" in line for line in screen.lines)
    assert sha256_file(parts.weights("teacher")) == sha256_file(whole.weights("teacher"))


def test_a_stop_during_validation_leaves_it_and_loses_no_step(
    tmp_path: Path, prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint of another torch version is used, with a warning."""
    whole, parts = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "parts")
    teach(whole, prepared, TEACHER, 0, QUIET)
    evaluated = []

    def stopped_in_the_second(*arguments: Any) -> Any:
        evaluated.append(arguments)
        if len(evaluated) == 2:
            signal.raise_signal(signal.SIGTERM)
        return evaluate_module.evaluate(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(fit, "evaluate", stopped_in_the_second)
        patch.setattr(torch, "__version__", "2.0.0")
        with pytest.raises(Interrupted) as caught:
            teach(parts, prepared, TEACHER, 0, QUIET)
    assert caught.value.exit_code == 143
    screen = Recorder()
    teach(parts, prepared, TEACHER, 0, screen)
    assert any("resuming in epoch 2" in line for line in screen.lines), "before its validation"
    assert any("made with torch 2.0.0, this is" in line for line in screen.lines)
    assert history(parts.role("teacher"))[1]["validation_accuracy"]
    assert sha256_file(parts.weights("teacher")) == sha256_file(whole.weights("teacher"))


def test_a_stop_while_the_last_checkpoint_is_written_is_heard(
    tmp_path: Path, prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, screen = RunFolder(tmp_path / "run"), Recorder()
    save = Checkpoints.save

    def stopped(*arguments: Any) -> None:
        save(*arguments)
        signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", stopped)
        with pytest.raises(Interrupted) as caught:
            teach(run, prepared, TEACHER, 0, QUIET)
    assert caught.value.exit_code == 143
    assert run.trained_roles() == ()
    teach(run, prepared, TEACHER, 0, screen)
    assert any("resuming in epoch 4" in line for line in screen.lines), "all was done but to seal it"
    assert run.trained_roles() == ("teacher",)


def test_a_torn_checkpoint_is_set_aside(
    tmp_path: Path, prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, torn = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "torn")
    longer = TEACHER.model_copy(update={"epochs": 4})
    teach(whole, prepared, longer, 0, QUIET)
    monkeypatch.setattr(fit, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(Checkpoints, "settle", lambda self: None)  # as if killed before the end
    teach(torn, prepared, TEACHER, 0, QUIET)
    newest = max((torn.role("teacher") / "checkpoints").glob("*.safetensors"))
    payload = bytearray(newest.read_bytes())
    payload[len(payload) // 2] ^= 1
    newest.write_bytes(payload)
    screen = Recorder()
    teach(torn, prepared, longer, 0, screen)
    assert any("is damaged; it was renamed" in line for line in screen.lines)
    assert newest.with_suffix(".torn").exists()
    assert sha256_file(torn.weights("teacher")) == sha256_file(whole.weights("teacher"))


def test_checkpoints_of_other_inputs_are_not_resumed(taught: RunFolder, prepared: Prepared) -> None:
    screen = Recorder()
    teach(taught, prepared, TEACHER.model_copy(update={"lr": 1e-3}), 0, screen)
    assert not any("resuming" in line for line in screen.lines)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_real_process_stopped_by_a_real_signal(
    tmp_path: Path, source: Path, number: signal.Signals
) -> None:
    """The same command again resumes and ends with the weights of an uninterrupted run."""

    def command(out: str) -> list[str]:
        fields = [f"teacher.arch={ARCH}", "teacher.weights=none", "teacher.epochs=12", "data.size=32"]
        options = [part for field in [*fields, "teacher.batch_size=4"] for part in ("--set", field)]
        arguments = ["teach", str(source), "--out", str(tmp_path / out), *options]
        often = "from kdtool.train.loop import fit; fit.CHECKPOINT_SECONDS = 0; from kdtool.cli import main; "
        return [sys.executable, "-c", f"{often}main({arguments!r})"]

    process = subprocess.Popen(command("parts"), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    next(line for line in process.stderr if "epoch 3/" in line)
    time.sleep(0.05)
    process.send_signal(number)
    rest = process.stderr.read()
    assert process.wait() == (-9 if number == signal.SIGKILL else 128 + number), rest
    assert ("the state is saved" in rest) == (number != signal.SIGKILL)
    again = subprocess.run(command("parts"), check=True, capture_output=True, text=True)
    assert "resuming in epoch" in again.stderr
    if number == signal.SIGKILL:  # the two others stopped in order, which a test above compares bit by bit
        subprocess.run(command("whole"), check=True, capture_output=True)
        weights = [sha256_file(RunFolder(tmp_path / out).weights("teacher")) for out in ("parts", "whole")]
        assert weights[0] == weights[1]
