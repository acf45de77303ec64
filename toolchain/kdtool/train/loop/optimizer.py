"""Optimizers by name, and the learning rate of every step."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

from kdtool.recipe.settings import NetworkSettings

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": partial(torch.optim.SGD, momentum=0.9, nesterov=True),
}

SCHEDULES: dict[str, Callable[[float], float]] = {  # share of the training that is over → factor
    "constant": lambda _: 1.0,
    "cosine": lambda share: (1 + math.cos(math.pi * share)) / 2,
}


def build_optimizer(settings: NetworkSettings, *modules: nn.Module) -> torch.optim.Optimizer:
    """The optimizer over the parameters of `modules`, fused; biases and norms do not decay."""
    parameters = [parameter for module in modules for parameter in module.parameters()]
    groups: list[dict[str, Any]] = [{"params": parameters}]
    if settings.weight_decay:
        groups = [
            {"params": [one for one in parameters if one.ndim > 1]},
            {"params": [one for one in parameters if one.ndim <= 1], "weight_decay": 0.0},
        ]
        groups = [group for group in groups if group["params"]]
    return OPTIMIZERS[settings.optimizer](
        groups, lr=settings.lr, weight_decay=settings.weight_decay, fused=True
    )


def learning_rate(settings: NetworkSettings, epochs: float) -> float:
    """lr · min(1, e / warm-up) · schedule(e / epochs) after `epochs` epochs (parts of one included).

    The cosine is that of Loshchilov and Hutter (2017, arXiv:1608.03983), without restarts.
    """
    warm = min(1.0, epochs / settings.warmup_epochs) if settings.warmup_epochs else 1.0
    return settings.lr * warm * SCHEDULES[settings.schedule](epochs / settings.epochs)
