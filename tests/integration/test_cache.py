"""The place of decoded images (cache) has no effect on training and may change at any time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.commands import kdtool
from kdtool.core.files import sha256_file
from kdtool.runs.folder import RunFolder

TINY = (
    *("--teacher", "timm/test_resnet", "--teacher-weights", "none", "--student", "timm/test_resnet"),
    *("--set", "data.size=32", "--set", "teacher.epochs=1", "--set", "student.epochs=2"),
    *("--set", "student.augment.mixup=0.5", "--set", "student.augment.crop=0.5"),
)


def test_kept_or_not_the_same_networks(
    photos: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = photos(splits={"train": 8, "validation": 4, "test": 4}, side=40)
    kept, apart = RunFolder(tmp_path / "kept"), RunFolder(tmp_path / "apart")
    for run, cache in ((kept, "memory"), (apart, "none")):
        assert kdtool("distill", root, "--out", run.path, *TINY, "--cache", cache) == 0
    assert not (apart.data / "train.npy").exists()
    for role in ("teacher", "student"):
        assert sha256_file(kept.weights(role)) == sha256_file(apart.weights(role))

    capsys.readouterr()
    assert kdtool("distill", root, "--out", apart.path, "--cache", "disk") == 0
    said = capsys.readouterr().err
    assert (apart.data / "train.npy").is_file()
    assert "student: complete, skipped" in said and "teacher: complete, skipped" in said

    assert kdtool("distill", root, "--out", apart.path, "--cache", "tape") == 2
    root.rename(tmp_path / "gone")  # what is kept needs no photographs, wherever it is kept from now on
    assert kdtool("distill", "--out", apart.path, "--cache", "memory", "--set", "student.epochs=3") == 0
