"""Measure training with and without the matrix product of `kdtool.arch.smallmaps`, in turns, one thread.

    python benchmarks/small_maps.py

The script measures steps of a ResNet18 with a fused AdamW, and single 3×3 convolutions, forward and backward,
on maps of growing side; the latter show from which side on the matrix product is slower (`LARGEST`). A ratio
is the time of the plain convolution divided by that of the matrix product.
"""

from __future__ import annotations

import copy
import json
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models import resnet18

from kdtool.arch import smallmaps
from kdtool.machine.cpu import processor_name
from kdtool.machine.packages import versions_of

PAIRS, WARMUP, BATCH = 15, 3, 64
LAYERS = [(512, 1), (512, 2), (512, 3), (512, 4), (256, 4), (512, 7)]
CASES = [(size, batch, bf16) for size, batch in ((32, 64), (64, 64), (96, 64)) for bf16 in (False, True)]


def stepper(network: nn.Module, size: int, batch: int, bfloat16: bool):
    """Return a function that takes one step and returns its seconds."""
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


def layer(convolution: nn.Module, channels: int, side: int, bfloat16: bool):
    """Return a function that runs one convolution, forward and backward, and returns its seconds."""
    images = torch.randn(BATCH, channels, side, side).to(memory_format=torch.channels_last).requires_grad_()

    def step() -> float:
        started = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            output = convolution(images)
        output.backward(torch.ones_like(output))
        return time.perf_counter() - started

    return step


def compare(plain: Callable[[], float], small: Callable[[], float]) -> dict[str, float]:
    """Measure both in turns; return the ratio of their times."""
    ratios = [plain() / small() for _ in range(WARMUP + PAIRS)][WARMUP:]
    return {
        "ratio_median": round(statistics.median(ratios), 2),
        "ratio_min": round(min(ratios), 2),
        "ratio_max": round(max(ratios), 2),
    }


def measure_step(size: int, batch: int, bfloat16: bool) -> dict[str, float | int | str]:
    plain = resnet18(num_classes=10).to(memory_format=torch.channels_last)
    ours = copy.deepcopy(plain)
    smallmaps.speed_up_small_maps(ours)
    steps = (stepper(network, size, batch, bfloat16) for network in (plain, ours))
    return {"size": size, "batch": batch, "precision": name_of(bfloat16), **compare(*steps)}


def measure_layer(channels: int, side: int, bfloat16: bool) -> dict[str, float | int | str]:
    plain = nn.Conv2d(channels, channels, 3, padding=1, bias=False).to(memory_format=torch.channels_last)
    ours = copy.deepcopy(plain)
    smallmaps.speed_up_small_maps(ours)
    passes = (layer(convolution, channels, side, bfloat16) for convolution in (plain, ours))
    return {"channels": channels, "side": side, "precision": name_of(bfloat16), **compare(*passes)}


def name_of(bfloat16: bool) -> str:
    return "bfloat16" if bfloat16 else "float32"


def main() -> None:
    torch.set_num_threads(1)
    steps = [measure_step(*case) for case in CASES]
    smallmaps.LARGEST = 10_000  # use the matrix product for every map, to see where it becomes slower
    result = {
        "pairs": PAIRS,
        "steps": steps,
        "layers": [measure_layer(*case, bf16) for case in LAYERS for bf16 in (False, True)],
        "processor": processor_name(),
        "versions": versions_of(("torch", "torchvision")),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
