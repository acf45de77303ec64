"""Strided 1 × 1 convolutions of few channels, which the CPU library behind torch cannot train.

Its weight gradient for a channels-last input of 2 to 7 channels, in float32 and with a stride of 2 or more,
reads outside its memory and ends the process (torch 2.14). The stems of RepVGG, MobileOne and FastViT have
such a convolution. Without the stride the library is right, and a stride of a 1 × 1 kernel only leaves out
pixels.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

FEW = 8  # input channels; from 8 on another, correct code path is taken


class StridedPointwiseConv2d(nn.Conv2d):
    """1 × 1 convolution that leaves out pixels first and then has no stride: the values of `nn.Conv2d`."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        down, right = self.stride
        return F.conv2d(input[:, :, ::down, ::right], weight, bias, groups=self.groups)


def avoid_strided_pointwise(network: nn.Module) -> nn.Module:
    """Turn such convolutions into `StridedPointwiseConv2d`; weights and names stay the same.

    This is for networks that kdtool builds to train. An export builds the network again.
    """
    for module in network.modules():
        if (
            type(module) is nn.Conv2d
            and module.kernel_size == (1, 1)
            and module.stride != (1, 1)
            and module.padding == (0, 0)
            and module.in_channels < FEW
        ):
            module.__class__ = StridedPointwiseConv2d
    return network
