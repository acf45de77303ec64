"""Optimizers by name, and the learning rate of every step."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": partial(torch.optim.SGD, momentum=0.9, nesterov=True),
}

SCHEDULES: dict[str, Callable[[float], float]] = {  # share of the training that is over → factor
    "constant": lambda _: 1.0,
    "cosine": lambda share: (1 + math.cos(math.pi * share)) / 2,
}


@dataclass(frozen=True)
class Optimization:
    """How a network is trained; the names are the recipe's.

    Attributes:
        lr: the largest learning rate. optimizer, schedule: names in `OPTIMIZERS` and `SCHEDULES`.
        warmup_epochs: over which the learning rate rises to `lr`.
        patience: epochs without a better validation accuracy after which training stops; 0: never.
        ema: decay of the averaged weights that are kept; 0: no average.
        precision: of the arithmetic, float32 or bfloat16.
        compile: whether torch.compile translates the network.
    """

    epochs: int
    lr: float
    optimizer: str = "adam"
    weight_decay: float = 0.0
    schedule: str = "constant"
    warmup_epochs: int = 0
    patience: int = 0
    ema: float = 0.0
    precision: str = "float32"
    compile: bool = False

    def learning_rate(self, epochs: float) -> float:
        """lr · min(1, e / warm-up) · schedule(e / epochs) after e `epochs` (parts of one included).

        The cosine is that of Loshchilov and Hutter (2017, arXiv:1608.03983), without restarts.
        """
        warm = min(1.0, epochs / self.warmup_epochs) if self.warmup_epochs else 1.0
        return self.lr * warm * SCHEDULES[self.schedule](epochs / self.epochs)


def build_optimizer(name: str, lr: float, weight_decay: float, *modules: nn.Module) -> torch.optim.Optimizer:
    """The optimizer over the parameters of `modules`, fused; biases and norms do not decay."""
    parameters = [parameter for module in modules for parameter in module.parameters()]
    groups: list[dict[str, Any]] = [{"params": parameters}]
    if weight_decay:
        groups = [
            {"params": [one for one in parameters if one.ndim > 1]},
            {"params": [one for one in parameters if one.ndim <= 1], "weight_decay": 0.0},
        ]
        groups = [group for group in groups if group["params"]]
    return OPTIMIZERS[name](groups, lr=lr, weight_decay=weight_decay, fused=True)
