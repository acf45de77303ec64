"""A network of no use stops the run before export, with its cause, and nothing is lost."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
from torch import nn

from fixtures.commands import kdtool
from fixtures.images import coloured, write_photographs
from kdtool.core.screen import QUIET
from kdtool.data.prepare import prepare
from kdtool.data.reader import Prepared
from kdtool.recipe.settings import DataSettings, StudentSettings
from kdtool.runs.soundness import Cause, fault_in
from kdtool.train import stage
from kdtool.train.student import train_baseline

CLASSES = ("blue", "green", "red")
ARCH = "timm/test_resnet"
SETTINGS = [
    part
    for field in ("data.size=32", "teacher.weights=none", "teacher.epochs=1", "student.epochs=1",
                  f"teacher.arch={ARCH}", f"student.arch={ARCH}")
    for part in ("--set", field)
]  # fmt: skip


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    counts = {"train": 12, "validation": 12, "test": 12}
    return write_photographs(
        tmp_path / "photos", CLASSES, counts, lambda label, seed: coloured(label, [label, seed], 32, 32)
    )


@pytest.fixture
def easy(photographs: Path, tmp_path: Path) -> Prepared:
    return prepare(str(photographs), DataSettings(size=32), 0, tmp_path / "data", QUIET)[0]


def test_a_run_ends_at_the_gate_and_goes_no_further(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    command = ("run", photographs, "--out", run, *SETTINGS, "--set", "teacher.lr=1e-9")
    for _ in range(2):  # the same command again says it again, and trains nothing
        assert kdtool(*command) == 6
        error = capsys.readouterr().err
        assert f"{run}/teacher/model.safetensors: the teacher is of no use: it" in error
        assert "(it learned nothing)" in error
        assert (
            "at another learning rate: --set teacher.lr=1e-10 or --set teacher.lr=3e-09, or from pretrained "
            "weights: --teacher-weights imagenet" in error
        )
    assert (run / "teacher" / "history.csv").is_file(), "the network is kept"
    assert not (run / "onnx").exists() and not (run / "student" / "manifest.json").exists()
    for words in (("export", "--onnx"), ("quantize",), ("bench",), ("bundle", "--role", "teacher")):
        assert kdtool(*words, run) == 6, words
        assert "the teacher is of no use" in capsys.readouterr().err
    assert kdtool("doctor", run) == 5
    assert "the teacher is of no use" in capsys.readouterr().out


class Forgetful(nn.Module):
    """Learns in training mode; in evaluation mode it always answers the first class."""

    def __init__(self) -> None:
        super().__init__()
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(3, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.pool(images).flatten(1))
        return logits if self.training else logits * 0 + torch.tensor([1.0, 0.0, 0.0])


def trained(easy: Prepared, folder: Path, monkeypatch: pytest.MonkeyPatch, network: nn.Module) -> Path:
    monkeypatch.setattr(stage, "build", lambda *_: network)
    settings = StudentSettings(arch=ARCH, epochs=8, lr=0.1, batch_size=6, patience=0)
    train_baseline(folder, easy, settings, 0, QUIET)
    return folder / "model.safetensors"


def test_a_broken_evaluation_mode_is_named(
    easy: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = trained(easy, tmp_path / "student", monkeypatch, Forgetful())
    problem, mend = fault_in(file, "student") or ("", "")
    assert "it answers 'blue' for 100.0 % of the images, and 33.3 % are" in problem
    assert str(Cause.EVALUATION_MODE) in problem
    assert "--set student.batch_size=8" in mend


def test_what_knows_the_training_photographs_alone(
    easy: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The labels of validation are those of other classes."""
    labels = easy.split("validation").labels
    labels[:] = (labels + 1) % 3
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3))
    file = trained(easy, tmp_path / "student", monkeypatch, network)
    problem, mend = fault_in(file, "student") or ("", "")
    assert "no better than chance" in problem
    assert str(Cause.OTHER_PHOTOGRAPHS) in problem
    assert "kdtool data check DATA" in mend


def test_a_sound_network_has_no_fault(
    easy: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3))
    file = trained(easy, tmp_path / "student", monkeypatch, network)
    assert fault_in(file, "student") is None
    manifest = json.loads((file.parent / "manifest.json").read_text())
    with (file.parent / "history.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    (kept,) = [row for row in rows if row["kept"] == "1"]
    assert int(kept["epoch"]) == manifest["result"]["best_epoch"]
    assert float(kept["validation_macro_f1"]) > 0.9


@pytest.mark.parametrize(("selection", "kept"), [("accuracy", 1), ("last", 3)])
def test_the_kept_epoch_is_chosen_as_asked(
    easy: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, selection: str, kept: int
) -> None:
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3))
    with torch.no_grad():
        network[2].weight.copy_(torch.eye(3))  # right from the start: no epoch is better than the first
    monkeypatch.setattr(stage, "build", lambda *_: network)
    settings = StudentSettings(arch=ARCH, epochs=3, lr=1e-4, batch_size=6, patience=0, selection=selection)
    manifest = train_baseline(tmp_path / "student", easy, settings, 0, QUIET)
    assert manifest.result["best_epoch"] == kept
