"""If memory does not suffice, the batch is halved; the result is that of a training with this batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from fixtures.screens import Recorder
from kdtool.core.errors import SetupError
from kdtool.core.files import sha256_file
from kdtool.core.screen import QUIET
from kdtool.data.reader import Prepared
from kdtool.recipe.settings import TeacherSettings
from kdtool.runs.folder import RunFolder
from kdtool.train import stage
from kdtool.train.loop.fit import fit
from kdtool.train.loop.memory import out_of_memory, saved_batch_size
from kdtool.train.teaching.teacher import teach

SETTINGS = TeacherSettings(arch="timm/test_resnet", weights="none", epochs=1, lr=1e-2, batch_size=24)


def exhausting(largest: int) -> Any:
    """Return a training loop that runs out of memory with more than `largest` images in a batch."""

    def limited(*arguments: Any) -> Any:
        if arguments[2]["train"].batch_size > largest:
            torch.empty(1 << 60, dtype=torch.uint8)  # torch's own error
        return fit(*arguments)

    return limited


def test_torch_says_so_in_words_that_are_understood() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert out_of_memory(caught.value)
    assert not out_of_memory(RuntimeError("shapes differ"))


def test_the_batch_is_halved_and_the_result_is_that_of_the_smaller_one(
    tmp_path: Path, prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    small, found = RunFolder(tmp_path / "small"), RunFolder(tmp_path / "found")
    teach(small, prepared, SETTINGS.model_copy(update={"batch_size": 6}), 0, QUIET)
    screen = Recorder()
    monkeypatch.setattr(stage, "fit", exhausting(6))
    manifest = teach(found, prepared, SETTINGS, 0, screen)
    assert manifest.result["batch_size"] == 6
    assert sha256_file(found.weights("teacher")) == sha256_file(small.weights("teacher"))
    for before, after in ((24, 12), (12, 6)):
        assert (
            f"teacher: out of memory with a batch of {before} images; started again with {after}."
            in screen.warned
        )
    again = Recorder()
    teach(found, prepared, SETTINGS.model_copy(update={"epochs": 2}), 0, again)
    assert not any("out of memory" in line for line in again.lines), "the batch size is saved"
    assert any("resuming in epoch 2" in line for line in again.lines)


def test_where_even_two_images_are_too_many(
    tmp_path: Path, prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "fit", exhausting(1))
    with pytest.raises(SetupError, match=r"teacher: out of memory with a batch of 3 images\.\nFree some"):
        teach(RunFolder(tmp_path), prepared, SETTINGS, 0, QUIET)


def test_what_is_remembered_is_of_one_training(tmp_path: Path) -> None:
    assert saved_batch_size(tmp_path, "key") is None
    (tmp_path / "batch-size.json").write_text('{"key": "key", "batch_size": 8}')
    assert saved_batch_size(tmp_path, "key") == 8
    assert saved_batch_size(tmp_path, "other") is None
    (tmp_path / "batch-size.json").write_text("[")
    assert saved_batch_size(tmp_path, "key") is None
