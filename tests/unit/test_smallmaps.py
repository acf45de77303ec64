"""Convolutions on small maps have the values, gradients and names of torch's convolution."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torchvision.models import resnet18

from fixtures.convolutions import assert_same
from kdtool.arch.smallmaps import LARGEST, SmallMapConv2d, speed_up_small_maps


@settings(deadline=None, max_examples=60)
@given(
    size=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    kernel=st.sampled_from([(3, 3), (5, 5), (1, 3), (3, 1), (2, 2), (7, 7)]),
    stride=st.integers(1, 3),
    padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    bias=st.booleans(),
)
def test_equals_the_plain_convolution_in_value_and_gradient(size, kernel, stride, padding, bias):
    if any(extent + 2 * pad < reach for extent, pad, reach in zip(size, padding, kernel, strict=True)):
        return  # no output at all
    torch.manual_seed(0)
    plain = nn.Conv2d(3, 4, kernel, stride=stride, padding=padding, bias=bias).double()
    fast = copy.deepcopy(plain)
    speed_up_small_maps(fast)
    assert type(fast) is SmallMapConv2d
    assert_same(fast, plain, torch.randn(2, 3, *size, dtype=torch.float64))


@pytest.mark.parametrize(
    "convolution",
    [
        nn.Conv2d(4, 4, 1),
        nn.Conv2d(4, 4, 3, groups=4),
        nn.Conv2d(4, 4, 3, dilation=2),
        nn.Conv2d(4, 4, 3, padding="same"),
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
    ],
)
def test_leaves_other_convolutions_alone(convolution):
    speed_up_small_maps(convolution)
    assert type(convolution) is nn.Conv2d


def test_a_network_keeps_its_names_its_outputs_and_its_memory_format():
    torch.manual_seed(0)
    plain = resnet18(num_classes=10).to(memory_format=torch.channels_last).eval()
    fast = copy.deepcopy(plain)
    speed_up_small_maps(fast)
    assert list(fast.state_dict()) == list(plain.state_dict())
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(fast(images), plain(images), rtol=1e-4, atol=1e-5)
    map_ = fast.layer4(torch.randn(2, 256, 4, 4).to(memory_format=torch.channels_last))
    assert map_.is_contiguous(memory_format=torch.channels_last)
    assert (
        copy.deepcopy(fast).layer4[0].conv1.__class__ is SmallMapConv2d
    )  # as an average of weights copies it


def test_large_maps_go_torchs_way(monkeypatch):
    convolution = nn.Conv2d(2, 2, 3, padding=1)
    speed_up_small_maps(convolution)
    large = torch.randn(1, 2, 1, LARGEST + 1)
    asked = []
    monkeypatch.setattr(
        nn.Conv2d, "_conv_forward", lambda self, images, weight, bias: asked.append(images.shape) or images
    )
    convolution(large)
    assert asked == [large.shape]
