"""Time per image of a network: measured on the training device, after the device has finished."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch

from kdtool.train import estimate
from kdtool.train.together.processes import Processes

ELSEWHERE = torch.device("meta")  # a device that every machine has, and no CPU


@pytest.mark.parametrize("training", [True, False])
def test_the_device_of_training_is_the_one_that_is_timed(
    monkeypatch: pytest.MonkeyPatch, training: bool
) -> None:
    waited, arithmetic = [], []

    def autocast(kind: str, dtype: torch.dtype, enabled: bool) -> nullcontext[None]:
        arithmetic.append((kind, dtype, enabled))
        return nullcontext()

    monkeypatch.setattr(estimate, "processes", lambda: Processes(device=ELSEWHERE))
    monkeypatch.setattr(torch, "autocast", autocast)
    monkeypatch.setattr(torch.accelerator, "synchronize", waited.append)
    assert estimate.seconds_per_image("timm/test_resnet", 3, 32, training, "bfloat16") > 0
    assert len(waited) > estimate.STEPS and set(waited) == {ELSEWHERE}
    assert set(arithmetic) == {("meta", torch.bfloat16, True)}
