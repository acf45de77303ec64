"""Strided 1 × 1 convolutions of few channels: the values of torch, and a gradient that does not crash."""

from __future__ import annotations

import copy
import subprocess
import sys

import pytest
import torch
from torch import nn

from fixtures.convolutions import assert_same
from kdtool.arch.pointwise import StridedPointwiseConv2d, avoid_strided_pointwise

STEP = """
import sys, torch
from torch import nn
from kdtool.arch.pointwise import avoid_strided_pointwise
torch.set_num_threads(1)
channels, side = map(int, sys.argv[1:])
layer = avoid_strided_pointwise(nn.Conv2d(channels, 64, 1, 2, bias=False))
layer = layer.to(memory_format=torch.channels_last)
images = torch.randn(4, channels, side, side).contiguous(memory_format=torch.channels_last)
for _ in range(3):
    layer(images).sum().backward()
"""


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("stride", [2, 3, (1, 2)])
@pytest.mark.parametrize("size", [(8, 8), (7, 5), (1, 1)])
def test_equals_the_plain_convolution(
    size: tuple[int, int], stride: int | tuple[int, int], groups: int
) -> None:
    torch.manual_seed(0)
    plain = nn.Conv2d(3, 6, 1, stride=stride, groups=groups).double()
    ours = copy.deepcopy(plain)
    avoid_strided_pointwise(ours)
    assert type(ours) is StridedPointwiseConv2d
    assert_same(ours, plain, torch.randn(2, 3, *size, dtype=torch.float64))


@pytest.mark.parametrize(
    "convolution",
    [
        nn.Conv2d(3, 4, 1),
        nn.Conv2d(8, 4, 1, stride=2),
        nn.Conv2d(3, 4, 3, stride=2),
        nn.Conv2d(3, 4, 1, 2, 1),
    ],
)
def test_leaves_other_convolutions_alone(convolution: nn.Conv2d) -> None:
    assert type(avoid_strided_pointwise(convolution)) is nn.Conv2d


@pytest.mark.parametrize(("channels", "side"), [(3, 224), (2, 160), (7, 224)])
def test_a_training_step_does_not_end_the_process(channels: int, side: int) -> None:
    subprocess.run([sys.executable, "-c", STEP, str(channels), str(side)], check=True, timeout=120)
