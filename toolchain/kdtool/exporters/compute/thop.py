"""Count of a network's compute by thop, as an independent check of `kdtool.exporters.compute.count`.

thop hooks torch modules, so it does not count the products of attention, which are not modules. The rules
count only convolutions and linear layers, also subclasses of them (thop compares exact types, and timm has
its own subclasses of convolutions).
"""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from kdtool.core.quiet import quietly

Rule = Callable[[Any, Any, Any], None]


def thop_macs(network: nn.Module, size: int) -> int:
    """Count the multiply–accumulates of one image (3, size, size) with thop.

    thop works on a copy, because it adds buffers to the network that it profiles.
    """
    with quietly():
        importlib.import_module("setuptools")  # brings back distutils, which thop imports, on Python ≥ 3.12
        thop = importlib.import_module("thop")
        hooks = importlib.import_module("thop.vision.basic_hooks")
        rules = {
            type(module): _rule(module, hooks) for module in network.modules() if not list(module.children())
        }
        example = torch.zeros(1, 3, size, size)
        macs, _ = thop.profile(copy.deepcopy(network), inputs=(example,), custom_ops=rules, verbose=False)
    return int(macs)


def _rule(module: nn.Module, hooks: Any) -> Rule:
    rules: dict[type, Rule] = {_ConvNd: hooks.count_convNd, nn.Linear: hooks.count_linear}
    return next((rule for kind, rule in rules.items() if isinstance(module, kind)), hooks.zero_ops)
