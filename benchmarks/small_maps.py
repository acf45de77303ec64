"""A training step with and without `kdtool.train.smallmaps`, interleaved, one thread.

    python benchmarks/small_maps.py

ResNet18, AdamW, both fused; the ratio is the plain step's time over ours, above 1 where ours is faster.
"""

from __future__ import annotations

import copy
import json
import statistics
import time

import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models import resnet18

from kdtool.core.cpu import processor_name
from kdtool.core.versions import versions_of
from kdtool.train.smallmaps import speed_up_small_maps

PAIRS, WARMUP = 15, 3
CASES = [(size, batch, bf16) for size, batch in ((32, 64), (64, 64), (96, 64)) for bf16 in (False, True)]


def stepper(network: nn.Module, size: int, batch: int, bfloat16: bool):
    """A function that takes one step and returns its seconds."""
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    images = torch.randn(batch, 3, size, size).to(memory_format=torch.channels_last)
    target = torch.randint(0, 10, (batch,))

    def step() -> float:
        started = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            loss = F.cross_entropy(network(images).float(), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return time.perf_counter() - started

    return step


def measure(size: int, batch: int, bfloat16: bool) -> dict[str, float | int | str]:
    plain = resnet18(num_classes=10).to(memory_format=torch.channels_last)
    ours = copy.deepcopy(plain)
    speed_up_small_maps(ours)
    one, other = (stepper(network, size, batch, bfloat16) for network in (plain, ours))
    ratios = [one() / other() for _ in range(WARMUP + PAIRS)][WARMUP:]
    return {
        "size": size,
        "batch": batch,
        "precision": "bfloat16" if bfloat16 else "float32",
        "ratio_median": round(statistics.median(ratios), 2),
        "ratio_min": round(min(ratios), 2),
        "ratio_max": round(max(ratios), 2),
    }


def main() -> None:
    torch.set_num_threads(1)
    result = {
        "pairs": PAIRS,
        "cases": [measure(*case) for case in CASES],
        "processor": processor_name(),
        "versions": versions_of(("torch", "torchvision")),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
