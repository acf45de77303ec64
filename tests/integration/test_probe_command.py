"""kdtool probe: how good the frozen features of a network are, without training it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from fixtures.commands import kdtool
from kdtool.arch.network import build

ARCH = "timm/test_resnet"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("weights") / "test_resnet.safetensors"
    save_file(build(ARCH, 1000, 32).state_dict(), file)
    return file


def test_the_figures_of_a_probe(tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ("probe", "digits", "--network", ARCH, "--weights", weights, "--size", "32", "--out", tmp_path)
    assert kdtool(*command, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["network"], found["size"], found["features"]) == (ARCH, 32, 96)
    validation = found["validation"]
    low, high = validation["accuracy_ci"]
    assert low <= validation["accuracy"] <= high
    assert validation["balanced_accuracy_ci"] and validation["macro_f1_ci"]
    assert found["test"] is None, "the test split stays closed"
    assert Path(found["file"]).is_file()
    assert kdtool(*command, "--test") == 0
    printed = capsys.readouterr()
    assert "linear probe complete, skipped" in printed.err
    assert "  test: " in printed.out and "images right" in printed.out
    assert f"--student {ARCH} --student-weights {weights}" in printed.out
    assert kdtool(*command, "--set", "data.balance=sample", "--json") == 0
    assert json.loads(capsys.readouterr().out)["c"] > 0


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--network", "nonsense"), "nonsense"),
        (("--network", ARCH, "--weights", "none"), "the features of a random network say nothing"),
        (("--network", ARCH, "--set", "student.lr=1"), "allowed are fields of [data]"),
    ],
)
def test_what_cannot_be_probed(
    tmp_path: Path, words: tuple[str, ...], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert kdtool("probe", "digits", "--out", tmp_path / "probe", *words) == 2
    assert problem in capsys.readouterr().err
    assert not (tmp_path / "probe").exists()


def test_a_self_supervised_transformer_is_a_teacher_by_its_probe(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """timm's DINOv2 has patches of 14 pixels and no classifier; here with random weights, at 28 pixels."""
    arch = "timm/vit_small_patch14_dinov2"
    torch.manual_seed(0)
    state = {
        name: value
        for name, value in build(arch, 10, 28).state_dict().items()
        if not name.startswith("head.")
    }
    file = tmp_path / "dinov2.safetensors"
    save_file(state, file)
    words = ["--teacher", arch, "--teacher-weights", str(file), "--set", "teacher.train=head"]
    words += ["--set", "teacher.size=28", "--set", "data.size=32", "--set", "student.epochs=1"]
    words += ["--student", ARCH, "--recipe", "digits"]
    assert kdtool("distill", "digits", "--out", tmp_path / "run", *words) == 0, capsys.readouterr().err
    manifest = json.loads((tmp_path / "run" / "teacher" / "manifest.json").read_text())
    assert manifest["result"]["validation_accuracy"] > 0.3
    assert not (tmp_path / "run" / "teacher" / "history.csv").exists()
    capsys.readouterr()
    words[words.index("teacher.size=28")] = "teacher.size=30"
    assert kdtool("distill", "digits", "--out", tmp_path / "other", *words) == 2
    error = capsys.readouterr().err
    assert "30" in error and "14" in error
