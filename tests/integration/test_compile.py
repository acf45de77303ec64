"""`--compile`: the compiled network trains like the plain one; options that are short for settings."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from kdtool.cli.job import TrainingOptions
from kdtool.core.errors import SetupError, UsageError
from kdtool.core.screen import QUIET
from kdtool.data.reader import Prepared
from kdtool.machine.cpu import cpu_has_bfloat16
from kdtool.recipe.settings import Recipe, StudentSettings, TeacherSettings
from kdtool.runs.folder import RunFolder
from kdtool.train.check import check_student
from kdtool.train.loop.compiling import compiled
from kdtool.train.teaching.teacher import teach

ARCH = "timm/test_resnet"
SETTINGS = TeacherSettings(arch=ARCH, weights="none", epochs=1, lr=1e-2, batch_size=12)


def test_a_compiled_network_trains_and_keeps_its_names(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The backend only traces, so that no C++ is compiled; its arithmetic is the same."""
    asked = []

    def traced(network: torch.nn.Module, **options: Any) -> Any:
        asked.append(network)
        return original(network, backend="eager", **options)

    original = torch.compile
    plain, compiled = RunFolder(tmp_path / "plain"), RunFolder(tmp_path / "compiled")
    teach(plain, prepared, SETTINGS, 0, QUIET)
    assert not asked
    monkeypatch.setattr(torch, "compile", traced)
    teach(compiled, prepared, SETTINGS.model_copy(update={"compile": True}), 0, QUIET)
    assert len(asked) == 1
    one, other = (load_file(run.weights("teacher")) for run in (plain, compiled))
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, rtol=1e-4, atol=1e-5)


def test_without_a_compiler_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", ("no-such-compiler",))
    forward = compiled(torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.ReLU()))
    with pytest.raises(SetupError, match="cannot compile the network on this machine") as caught:
        forward(torch.ones(5, 3))
    assert "C++ compiler" in caught.value.hint


NOTHING: dict[str, Any] = {
    **dict.fromkeys(("data", "out", "recipe", "seed", "teacher", "teacher_weights")),
    "overrides": (), "skip_bad": False, "allow_leaks": False, "dry_run": False,
}  # fmt: skip


def test_the_option_is_short_for_both_networks() -> None:
    options = TrainingOptions(**NOTHING, compile=True)
    assert options.as_overrides() == ["teacher.compile=true", "student.compile=true"]
    options = dataclasses.replace(options, compile=False, views=4, cache="none")
    assert options.as_overrides() == ["student.views=4", "data.cache=none"]


@pytest.mark.parametrize(
    "asked, features, taken",
    [
        ("bfloat16", "avx2", "bfloat16"),
        ("auto", "avx2 amx_bf16", "bfloat16"),
        ("auto", "asimd bf16", "bfloat16"),
        ("auto", "avx2", "float32"),
    ],
)
def test_precision_follows_the_processor_where_it_is_asked_to(
    asked: str, features: str, taken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text(f"flags : {features}\n")
    monkeypatch.setattr("kdtool.train.loop.precision.cpu_has_bfloat16", lambda: cpu_has_bfloat16(tmp_path))
    overrides = TrainingOptions(**NOTHING, precision=asked).as_overrides()
    assert overrides == [f"teacher.precision={taken}", f"student.precision={taken}"]


@pytest.mark.parametrize(
    "fields, world, message",
    [
        ({}, "2", r"student.compile is true in 2 processes; allowed: one process"),
        (
            {"features": {"name": "fitnet"}},
            "1",
            "student.compile is true with student.features.name",
        ),
    ],
)
def test_what_a_compiled_network_hides_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], world: str, message: str
) -> None:
    monkeypatch.setenv("WORLD_SIZE", world)
    student = StudentSettings.model_validate({"arch": ARCH, "compile": True, **fields})
    with pytest.raises(UsageError, match=message):
        check_student(RunFolder(tmp_path), Recipe(name="mine", student=student))
