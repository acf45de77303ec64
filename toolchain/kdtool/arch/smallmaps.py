"""Convolutions on small maps as one matrix product.

On a map of a few pixels a convolution does little arithmetic with many weights. On a CPU the library behind
torch then spends its time on the conversion of these weights to its memory layout, once forward and twice
backward. Unfolding such a small map costs almost nothing. `benchmarks/small_maps.py` measures the ratios.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

LARGEST = 9  # output positions, 3 × 3; from 4 × 4 on the library's convolution is as fast or faster


class SmallMapConv2d(nn.Conv2d):
    """Convolution that multiplies the unfolded map by the weights if its output is small, on a CPU.

    y[b, o, p] = Σ_(c, i, j) w[o, c, i, j] · x[b, c, s·p + (i, j) − padding]: the sum of `nn.Conv2d`, added
    in another order.
    """

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        rows, columns = self._output(input.shape[2], 0), self._output(input.shape[3], 1)
        if input.device.type != "cpu" or not 0 < rows * columns <= LARGEST:
            plain: Tensor = super()._conv_forward(input, weight, bias)
            return plain
        (high, wide), (down, right) = self.kernel_size, self.stride
        above, beside = (int(zeros) for zeros in self.padding)
        padded = F.pad(input, (beside, beside, above, above))
        patches = padded.unfold(2, high, down).unfold(3, wide, right).permute(0, 2, 3, 4, 5, 1)
        batch, length = input.shape[0], high * wide * input.shape[1]
        flat = patches.reshape(batch * rows * columns, length)  # (B·P, h·w·C), as in channels-last weights
        product = F.linear(flat, weight.permute(0, 2, 3, 1).reshape(-1, length), bias)
        return product.view(batch, rows, columns, -1).permute(0, 3, 1, 2)

    def _output(self, size: int, axis: int) -> int:
        return (size + 2 * int(self.padding[axis]) - self.kernel_size[axis]) // self.stride[axis] + 1


def speed_up_small_maps(network: nn.Module) -> nn.Module:
    """Turn the convolutions of the network into `SmallMapConv2d`; weights and names stay the same.

    This is for networks that kdtool builds to train or to teach. An export builds the network again, with
    plain convolutions. A caller's own network is not changed, because the caller may export it.
    """
    for module in network.modules():
        if type(module) is nn.Conv2d and _gains(module):
            module.__class__ = SmallMapConv2d
    return network


def _gains(convolution: Any) -> bool:
    """True for dense kernels over several pixels, with zero padding and without dilation."""
    return (
        convolution.groups == 1
        and convolution.kernel_size != (1, 1)
        and convolution.padding_mode == "zeros"
        and convolution.dilation == (1, 1)
        and not isinstance(convolution.padding, str)
    )
