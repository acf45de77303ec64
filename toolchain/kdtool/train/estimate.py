"""How long training will take here: a few real steps, timed."""

from __future__ import annotations

import time

import torch

from kdtool.arch.network import build
from kdtool.core.threads import usable_threads

BATCH = 8
STEPS = 3


def seconds_per_image(arch: str, num_classes: int, size: int, training: bool) -> float:
    """Seconds one image costs `arch` on this machine, forward (and backward), after one warm-up step."""
    torch.set_num_threads(usable_threads())
    network = build(arch, num_classes, size).to(memory_format=torch.channels_last).train(training)
    images = torch.zeros(BATCH, 3, size, size).contiguous(memory_format=torch.channels_last)

    def step() -> float:
        started = time.perf_counter()
        with torch.set_grad_enabled(training):
            output = network(images)
            if training:
                output.square().mean().backward()
        return time.perf_counter() - started

    step()
    return min(step() for _ in range(STEPS)) / BATCH  # the least disturbed by whatever else runs here
