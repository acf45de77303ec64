"""Optimizers by name, and the learning rate of each step."""

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

SCHEDULES: dict[str, Callable[[float], float]] = {  # finished share of the training → factor
    "constant": lambda _: 1.0,
    "cosine": lambda share: (1 + math.cos(math.pi * share)) / 2,
}


@dataclass(frozen=True)
class Optimization:
    """Settings of the optimization, with the names of the recipe.

    Attributes:
        lr: largest learning rate.
        optimizer, schedule: names in `OPTIMIZERS` and `SCHEDULES`.
        warmup_epochs: number of epochs in which the learning rate rises to `lr`.
        patience: training stops after this many epochs without a better validation accuracy; 0 means never.
        ema: decay of the moving average of the weights, which is then kept; 0 means no average.
        precision: precision of the arithmetic, float32 or bfloat16.
        compile: compile the network with torch.compile.
        freeze_norm: batch normalization keeps its statistics (`kdtool.train.loop.freezing`).
        selection: the figure whose best epoch is kept: accuracy, balanced_accuracy, or last.
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
    freeze_norm: bool = False
    selection: str = "accuracy"

    def learning_rate(self, epochs: float) -> float:
        """Learning rate after e `epochs` (or a fraction): lr · min(1, e / warm-up) · schedule(e / epochs).

        The cosine schedule is the one of Loshchilov and Hutter (2017, arXiv:1608.03983), without restarts.
        """
        warm = min(1.0, epochs / self.warmup_epochs) if self.warmup_epochs else 1.0
        return self.lr * warm * SCHEDULES[self.schedule](epochs / self.epochs)


def build_optimizer(name: str, lr: float, weight_decay: float, *modules: nn.Module) -> torch.optim.Optimizer:
    """Build the fused optimizer for the parameters of `modules` that are not frozen.

    Biases and norms have no weight decay.
    """
    everything = (parameter for module in modules for parameter in module.parameters())
    parameters = [parameter for parameter in everything if parameter.requires_grad]
    groups: list[dict[str, Any]] = [{"params": parameters}]
    if weight_decay:
        groups = [
            {"params": [value for value in parameters if value.ndim > 1]},
            {"params": [value for value in parameters if value.ndim <= 1], "weight_decay": 0.0},
        ]
        groups = [group for group in groups if group["params"]]
    return OPTIMIZERS[name](groups, lr=lr, weight_decay=weight_decay, fused=True)
