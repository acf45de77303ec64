"""Simulated INT8 (fake quantization): a network trains with the outputs that it has after quantization.

    fake(x) = scale · clip(round(x / scale) + zero, low, high) − scale · zero

Rounding has gradient zero. Instead the gradient is 1 if x is not clipped and 0 if it is (straight-through
estimator, Bengio et al. 2013, arXiv:1308.3432). The inputs and weights of convolutions and linear layers are
simulated, as in Jacob et al. 2018 (arXiv:1712.05877). A batch normalization after a convolution scales each
output channel, and so does its grid; therefore folding it later changes nothing.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdtool.calibration.histogram import Histogram, MinMax, Range
from kdtool.calibration.ranges import METHODS, WITHOUT_COUNTS
from kdtool.core.preprocess import FloatArray
from kdtool.recipe.choices import Calibration

TINY = 1e-12
LAYERS = (nn.Conv2d, nn.Linear)


@dataclass(frozen=True)
class Int8:
    """Integers to simulate; see `kdtool.quant.target.Int8Scheme`.

    Attributes:
        reduce_range: weights have 7 bits.
        per_channel: each output channel of a weight has its own scale.
        signed_weights: the grid of weights is symmetric around 0; otherwise it reaches from the smallest to
            the largest weight.
    """

    reduce_range: bool
    per_channel: bool
    signed_weights: bool


def input_ranges(network: nn.Module, batches: Iterable[Tensor], calibration: Calibration) -> dict[str, Range]:
    """Choose the range of each layer's input by the method `calibration`: layer → range.

    Args:
        batches: batches of images (B, 3, S, S); read twice if the method counts values.

    Raises:
        ValueError: an input is NaN or infinite.
    """
    observers: dict[str, MinMax] = defaultdict(MinMax)
    _observe(network, batches, lambda name, values: observers[name].add(values))
    histograms = {name: Histogram.empty(observer) for name, observer in observers.items()}
    if calibration not in WITHOUT_COUNTS:
        _observe(network, batches, lambda name, values: histograms[name].add(values))
    return {name: METHODS[calibration](histogram) for name, histogram in histograms.items()}


@torch.no_grad()
def _observe(
    network: nn.Module, batches: Iterable[Tensor], observer: Callable[[str, FloatArray], None]
) -> None:
    """Run `batches` in eval mode and call `observer` with the name and the input of each layer."""

    def hook(name: str, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        observer(name, inputs[0].cpu().numpy())

    hooks = [
        module.register_forward_pre_hook(functools.partial(hook, name))
        for name, module in network.named_modules()
        if type(module) in LAYERS
    ]
    training = network.training
    network.eval()
    for images in batches:
        network(images)
    network.train(training)
    for handle in hooks:
        handle.remove()


def simulate(network: nn.Module, ranges: Mapping[str, Range], int8: Int8) -> None:
    """Make the layers of `ranges` compute as in INT8; their parameters keep their names and stay float."""
    for name, module in network.named_modules():
        if name in ranges:
            module.forward = functools.partial(_forward, module, ranges[name], int8)


def fake_activation(x: Tensor, input_range: Range) -> Tensor:
    """Round `x` to the 256 levels of `input_range`, which contains 0; int8 and uint8 have the same levels."""
    low, high = input_range
    scale = max((high - low) / 255, TINY)
    return torch.fake_quantize_per_tensor_affine(x, scale, round(-low / scale), 0, 255)


def fake_weight(weight: Tensor, int8: Int8) -> Tensor:
    """Round `weight` (C, …) to the grid of each channel or of the whole tensor."""
    values = weight.detach().flatten(1)
    low, high = values.amin(1).clamp_max(0), values.amax(1).clamp_min(0)
    if not int8.per_channel:
        low, high = low.amin().expand_as(low), high.amax().expand_as(high)
    if int8.signed_weights:
        largest = 64 if int8.reduce_range else 127
        scale = (torch.maximum(-low, high) / largest).clamp_min(TINY).float()
        zero = torch.zeros_like(scale, dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(weight, scale, zero, 0, -largest, largest)
    levels = 127 if int8.reduce_range else 255
    scale = ((high - low) / levels).clamp_min(TINY).float()
    zero = (-low / scale).round().clamp(0, levels).to(torch.int32)
    return torch.fake_quantize_per_channel_affine(weight, scale, zero, 0, 0, levels)


def _forward(module: nn.Module, input_range: Range, int8: Int8, x: Tensor) -> Tensor:
    assert isinstance(module, LAYERS)
    x, weight = fake_activation(x, input_range), fake_weight(module.weight, int8)
    if isinstance(module, nn.Linear):
        return F.linear(x, weight, module.bias)
    result: Tensor = module._conv_forward(x, weight, module.bias)
    return result
