"""Precision of stored soft labels: float32, or float16 within 1e-3."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from kdtool.arch.network import build, save_network
from kdtool.core.errors import GateError
from kdtool.core.modelinfo import ModelInfo
from kdtool.core.screen import QUIET
from kdtool.data.reader import Prepared
from kdtool.recipe.settings import AugmentSettings, StudentSettings
from kdtool.runs.folder import RunFolder
from kdtool.train.loop.evaluate import padded_forward
from kdtool.train.stage import training_examples
from kdtool.train.teaching.features import OnlineTeacher
from kdtool.train.teaching.softlabels import store_soft_labels
from kdtool.train.teaching.teacher import open_teacher
from kdtool.train.views.batch import plain_examples

ARCH = "timm/test_resnet"
STUDENT = StudentSettings(arch=ARCH, epochs=2, augment=AugmentSettings(flip=True))


def run_with_teacher(folder: Path, prepared: Prepared, scale: float = 1.0) -> RunFolder:
    """Make a run whose teacher's logits are `scale` times those of a new network."""
    torch.manual_seed(0)
    network = build(ARCH, len(prepared.classes), 32)
    with torch.no_grad():
        network.fc.weight.mul_(scale)
    info = ModelInfo("teacher", ARCH, prepared.classes, prepared.preprocess)
    save_network(RunFolder(folder).weights("teacher"), network.state_dict(), info)
    return RunFolder(folder)


def test_float16_is_within_a_thousandth_and_float32_is_exact(prepared: Prepared, tmp_path: Path) -> None:
    run = run_with_teacher(tmp_path / "run", prepared)
    teacher, task = open_teacher(run, prepared), training_examples(prepared, STUDENT, 0)
    whole = store_soft_labels(teacher, prepared, task, tmp_path / "whole", QUIET)
    half = store_soft_labels(teacher, prepared, task, tmp_path / "half", QUIET, "float16")
    assert {part.dtype.name for view in half.views["train"] for part in view.shards} == {"float16"}
    np.testing.assert_allclose(half.logits["train"], whole.logits["train"], rtol=1e-3, atol=1e-6)
    plain = plain_examples(prepared, "validation").batch(np.arange(12), 0, torch.device("cpu"))
    expected = OnlineTeacher(teacher.network, teacher.info.preprocess)(plain)
    assert torch.equal(whole.of("validation")(plain), expected), "the same image gives the same bits"
    torch.testing.assert_close(half.of("validation")(plain), expected, rtol=1e-3, atol=1e-6)
    assert half.of("validation")(plain).dtype == torch.float32


def test_soft_labels_of_another_precision_are_not_reused(prepared: Prepared, tmp_path: Path) -> None:
    run = run_with_teacher(tmp_path / "run", prepared)
    teacher, task = open_teacher(run, prepared), training_examples(prepared, STUDENT, 0)
    half = store_soft_labels(teacher, prepared, task, run.soft_labels, QUIET, "float16")
    whole = store_soft_labels(teacher, prepared, task, run.soft_labels, QUIET)
    assert {part.dtype.name for view in whole.views["train"] for part in view.shards} == {"float32"}
    assert not np.array_equal(whole.logits["train"], half.logits["train"])


def test_a_logit_that_is_too_large_for_float16_is_refused(prepared: Prepared, tmp_path: Path) -> None:
    run = run_with_teacher(tmp_path / "run", prepared, scale=1e7)
    teacher, task = open_teacher(run, prepared), training_examples(prepared, STUDENT, 0)
    with pytest.raises(GateError, match=r"which is too large for float16\.\n.*student.answers=float32"):
        store_soft_labels(teacher, prepared, task, run.soft_labels, QUIET, "float16")
    store_soft_labels(teacher, prepared, task, run.soft_labels, QUIET)


@pytest.mark.parametrize("arch", ["resnet34", "timm/tf_efficientnet_lite0"])
def test_logits_do_not_depend_on_the_other_images_of_the_batch(arch: str) -> None:
    """In networks of real width, the batch size decides which algorithm a convolution uses."""
    torch.manual_seed(0)
    network = build(arch, 10, 64).eval().to(memory_format=torch.channels_last)
    images = torch.randn(64, 64, 64, 3).permute(0, 3, 1, 2)
    with torch.no_grad():
        whole = padded_forward(network, images)
        for count in (1, 15, 17, 40):
            assert torch.equal(padded_forward(network, images[:count]), whole[:count]), count
