"""Measure whether a worker process should make augmented views ahead of the training step.

    python benchmarks/views_ahead.py [--pairs 5] [--steps 12]

The script measures steps of a ResNet18 with AdamW on random crops, flips and RandAugment of noise images,
with all usable threads. The views are made in the step, as kdtool does, or by one worker of a DataLoader, in
turns. The ratio is the time with the worker divided by the time without; the share is the part of a step that
making views takes. The same steps also run in bfloat16, with the views made in the step: the ratio is the
time in float32 divided by that in bfloat16.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision.models import resnet18

from kdtool.arch import smallmaps
from kdtool.core.preprocess import Preprocess
from kdtool.data.reader import Split
from kdtool.machine.host import read_host
from kdtool.machine.packages import versions_of
from kdtool.machine.threads import usable_threads
from kdtool.train.views.augment import Augment
from kdtool.train.views.batch import Examples

CLASSES = 10
CASES = ((64, 64), (224, 16))  # pixels, batch
VIEWS = {"crop": 0.5, "flip": True, "randaugment": 2}
CPU = torch.device("cpu")
RESULTS = Path(__file__).with_name("results") / "views_ahead.json"


class Batches(Dataset[Any]):
    """Batches of some steps; each is made when it is requested."""

    def __init__(self, examples: Examples, batch: int, steps: int) -> None:
        self.examples, self.batch, self.steps = examples, batch, steps

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        made = self.examples.batch(np.arange(step * self.batch, (step + 1) * self.batch), 0, CPU)
        return made.images, made.target

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        return (self[step] for step in range(self.steps))


def seconds(batches: Iterable[Any], bfloat16: bool = False) -> tuple[float, float]:
    """Seconds of all steps but the first, in which a worker starts, and the part that waits for views."""
    torch.manual_seed(0)
    network = resnet18(num_classes=CLASSES).to(memory_format=torch.channels_last)
    smallmaps.speed_up_small_maps(network)
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    waited, began, asked = 0.0, 0.0, time.perf_counter()
    for number, (images, target) in enumerate(batches):
        if number:
            waited += time.perf_counter() - asked
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            logits = network(images.contiguous(memory_format=torch.channels_last))
        optimizer.zero_grad()
        F.cross_entropy(logits.float(), target).backward()
        optimizer.step()
        asked = time.perf_counter()
        began = began or asked
    return time.perf_counter() - began, waited


def measure(size: int, batch: int, pairs: int, steps: int) -> dict[str, Any]:
    """Measure all three ways at one size of image."""
    count = batch * (steps + 1)
    pixels = np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)
    split = Split("train", pixels, np.arange(count) % CLASSES, ("",) * count, ("",) * count)
    examples = Examples(split, CLASSES, Preprocess(size, size), Augment(split, 0, **VIEWS))
    batches = Batches(examples, batch, steps + 1)
    ratios, shares, faster = [], [], []
    for _ in range(pairs):
        in_step, waited = seconds(batches)
        ahead, _ = seconds(DataLoader(batches, batch_size=None, num_workers=1, prefetch_factor=2))
        bfloat16, _ = seconds(batches, bfloat16=True)
        ratios.append(ahead / in_step)
        shares.append(waited / in_step)
        faster.append(in_step / bfloat16)
    return {
        "size": size, "batch": batch, "worker_over_own": spread(ratios), "share_of_views": spread(shares),
        "float32_over_bfloat16": spread(faster),
    }  # fmt: skip


def spread(values: list[float]) -> dict[str, float]:
    """Return median, smallest and largest value."""
    figures = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {name: round(value, 3) for name, value in figures.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(usable_threads())
    measured = [measure(size, batch, options.pairs, options.steps) for size, batch in CASES]
    result = {
        "pairs": options.pairs, "steps": options.steps, "threads": usable_threads(), "measured": measured,
        "host": read_host().__dict__, "versions": versions_of(("torch", "torchvision", "pillow")),
    }  # fmt: skip
    options.out.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", "utf-8")
    print(json.dumps(measured, indent=2))


if __name__ == "__main__":
    main()
