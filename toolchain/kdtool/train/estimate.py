"""Estimates of the training time on this machine, from a few real steps."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch

from kdtool.arch.network import build
from kdtool.arch.pointwise import avoid_strided_pointwise
from kdtool.core.preprocess import Preprocess
from kdtool.data.reader import Split
from kdtool.machine.threads import usable_threads
from kdtool.recipe.choices import Precision
from kdtool.recipe.settings import AugmentSettings
from kdtool.train.stage import augment_of
from kdtool.train.together.processes import processes
from kdtool.train.views.batch import Examples

BATCH = 8
STEPS, MOST_STEPS, SECONDS = 3, 20, 1.0


def seconds_per_image(
    arch: str, num_classes: int, size: int, training: bool, precision: Precision = Precision.FLOAT32
) -> float:
    """Measure seconds per image of `arch` on the training device: forward, and backward if `training`."""
    torch.set_num_threads(usable_threads())
    device, layout = processes().device, torch.channels_last
    network = avoid_strided_pointwise(build(arch, num_classes, size)).to(device)
    network = network.to(memory_format=layout).train(training)
    images = torch.zeros(BATCH, 3, size, size, device=device).contiguous(memory_format=layout)

    def step() -> float:
        started = time.perf_counter()
        with torch.set_grad_enabled(training):
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
                output = network(images)
            if training:
                output.float().square().mean().backward()
        if device.type != "cpu":
            torch.accelerator.synchronize(device)  # an accelerator still computes after the call has returned
        return time.perf_counter() - started

    return _fastest(step)


def noise_examples(augment: AugmentSettings, num_classes: int, size: int) -> Examples:
    """Make one batch of noise images in memory, augmented as `augment` says."""
    indices = np.arange(BATCH)
    images = np.random.default_rng(0).integers(0, 256, (BATCH, size, size, 3), np.uint8)
    split = Split("train", images, indices % num_classes, ("",) * BATCH, ("",) * BATCH)
    return Examples(split, num_classes, Preprocess(size, size), augment_of(augment, split, 0))


def seconds_per_view(examples: Examples) -> float:
    """Measure seconds per image to read and augment `examples`, with decoding unless pixels are cached."""
    torch.set_num_threads(usable_threads())
    indices = np.arange(BATCH) % len(examples)

    def step() -> float:
        started = time.perf_counter()
        examples.batch(indices, 0, torch.device("cpu"))
        return time.perf_counter() - started

    return _fastest(step)


def _fastest(step: Callable[[], float]) -> float:
    """Seconds per image of the fastest step after one warm-up step; other programs disturb it least.

    Short steps are repeated for a second: on a busy machine, three in a row can all be disturbed.
    """
    step()
    times = [step() for _ in range(STEPS)]
    while sum(times) < SECONDS and len(times) < MOST_STEPS:
        times.append(step())
    return min(times) / BATCH
