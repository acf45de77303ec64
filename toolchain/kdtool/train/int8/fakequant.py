"""8 bits simulated in float: a network that trains on what it will answer after quantization.

    fake(x) = scale · clip(round(x / scale) + zero, low, high) − scale · zero

Rounding has no slope; its gradient is taken to be that of x where x is not clipped, and 0 where it is
(straight-through estimator, Bengio et al. 2013, arXiv:1308.3432). Simulated are the inputs and weights of
convolutions and linear layers, as in Jacob et al. 2018 (arXiv:1712.05877). A batch norm behind a
convolution scales each output channel, and with it that channel's grid: folding it later changes nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Range = tuple[float, float]
TINY = 1e-12
LAYERS = (nn.Conv2d, nn.Linear)


@dataclass(frozen=True)
class Int8:
    """The integers to simulate; see `kdtool.quant.target.Int8Scheme`.

    Attributes:
        reduce_range: weights of 7 bits.
        per_channel: a scale for each output channel of a weight.
        signed_weights: weights lie around 0, else from their smallest to their largest value.
    """

    reduce_range: bool
    per_channel: bool
    signed_weights: bool


@torch.no_grad()
def input_ranges(network: nn.Module, batches: Iterable[Tensor]) -> dict[str, Range]:
    """Layer → smallest and largest value of its input over `batches` of images (B, 3, S, S), 0 included."""
    seen: dict[str, Range] = {}

    def watch(name: str, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        low, high = seen.get(name, (0.0, 0.0))
        seen[name] = (min(low, inputs[0].min().item()), max(high, inputs[0].max().item()))

    hooks = [
        module.register_forward_pre_hook(functools.partial(watch, name))
        for name, module in network.named_modules()
        if type(module) in LAYERS
    ]
    training = network.training
    network.eval()
    for images in batches:
        network(images)
    network.train(training)
    for hook in hooks:
        hook.remove()
    return seen


def simulate(network: nn.Module, ranges: Mapping[str, Range], int8: Int8) -> None:
    """Have the layers of `ranges` compute as in INT8; their parameters stay float, under their names."""
    for name, module in network.named_modules():
        if name in ranges:
            module.forward = functools.partial(_forward, module, ranges[name], int8)


def fake_activation(x: Tensor, span: Range) -> Tensor:
    """`x` on the 8-bit grid of `span`, which contains 0; signed or not, its 256 levels are the same."""
    low, high = span
    scale = max((high - low) / 255, TINY)
    return torch.fake_quantize_per_tensor_affine(x, scale, round(-low / scale), 0, 255)


def fake_weight(weight: Tensor, int8: Int8) -> Tensor:
    """`weight` (C, …) on a grid of each channel or of the whole; signed, it is symmetric around 0."""
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


def _forward(module: nn.Module, span: Range, int8: Int8, x: Tensor) -> Tensor:
    assert isinstance(module, LAYERS)
    x, weight = fake_activation(x, span), fake_weight(module.weight, int8)
    if isinstance(module, nn.Linear):
        return F.linear(x, weight, module.bias)
    result: Tensor = module._conv_forward(x, weight, module.bias)
    return result
