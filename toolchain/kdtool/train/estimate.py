"""How long training will take here: a few real steps, timed."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch

from kdtool.arch.network import build
from kdtool.core.preprocess import Preprocess
from kdtool.data.reader import Split
from kdtool.machine.threads import usable_threads
from kdtool.recipe.choices import Precision
from kdtool.recipe.settings import AugmentSettings
from kdtool.train.views.batch import Task

BATCH = 8
STEPS = 3


def seconds_per_image(
    arch: str, num_classes: int, size: int, training: bool, precision: Precision = Precision.FLOAT32
) -> float:
    """Seconds one image costs `arch` on this machine, forward (and backward), after one warm-up step."""
    torch.set_num_threads(usable_threads())
    network = build(arch, num_classes, size).to(memory_format=torch.channels_last).train(training)
    images = torch.zeros(BATCH, 3, size, size).contiguous(memory_format=torch.channels_last)

    def step() -> float:
        started = time.perf_counter()
        with torch.set_grad_enabled(training):
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
                output = network(images)
            if training:
                output.float().square().mean().backward()
        return time.perf_counter() - started

    return _least(step)


def noise_task(augment: AugmentSettings, num_classes: int, size: int) -> Task:
    """A batch of pictures of noise as `augment` shows it, in memory."""
    indices = np.arange(BATCH)
    images = np.random.default_rng(0).integers(0, 256, (BATCH, size, size, 3), np.uint8)
    split = Split("train", images, indices % num_classes, ("",) * BATCH, ("",) * BATCH)
    return Task(split, num_classes, Preprocess(size, size), augment)


def seconds_per_view(task: Task) -> float:
    """Seconds it costs this machine to read one picture as `task` shows it, decoding where it has to."""
    torch.set_num_threads(usable_threads())
    indices = np.arange(BATCH) % len(task.split.labels)

    def step() -> float:
        started = time.perf_counter()
        task.batch(indices, 0, torch.device("cpu"))
        return time.perf_counter() - started

    return _least(step)


def _least(step: Callable[[], float]) -> float:
    """Seconds an image, after one warm-up step: of the step least disturbed by whatever else runs here."""
    step()
    return min(step() for _ in range(STEPS)) / BATCH
