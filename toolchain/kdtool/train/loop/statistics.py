"""Statistics of batch normalization that a short training, or an average of weights, leaves wrong.

Evaluation normalizes with running statistics: mean ← (1 − m) mean + m batch mean in each step. With the
momentum m = 0.01 or less of some published networks (MobileNetV3, EfficientNet-B5, MNASNet), which suits
millions of steps, a hundred steps hardly move them. Such a network trains well and evaluates at chance. The
momentum is no part of the weights, so training raises it. In a short training the weights still move faster
than the running mean follows, and an average of weights has statistics that no network had; there they are
computed again from images, after each epoch.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from itertools import islice

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from kdtool.train.together.processes import Processes
from kdtool.train.views.batch import Batch

LEAST_MOMENTUM = 0.1  # torch's own default: after 44 steps 1 % of the initial statistics is left
BATCHES = 32  # batches that statistics are computed from again
SHORT = 1000  # steps; after more of them, the running mean follows the weights


def raise_momentum(network: nn.Module) -> None:
    """Raise the momentum of batch normalization to at least `LEAST_MOMENTUM`, in place."""
    for module in network.modules():
        if isinstance(module, _BatchNorm) and module.momentum is not None:
            module.momentum = max(module.momentum, LEAST_MOMENTUM)


@torch.no_grad()
def with_new_statistics(network: nn.Module, batches: Iterable[Batch], team: Processes) -> nn.Module:
    """Return a copy of a network whose statistics are the mean over `BATCHES` batches.

    Args:
        batches: batches for this process of `team`.
    """
    settled = copy.deepcopy(network).eval()
    for module in settled.modules():
        if isinstance(module, _BatchNorm):
            module.reset_running_stats()
            module.momentum = None  # a cumulative mean
            module.train()
    for batch in islice(batches, BATCHES):
        with team.as_one_batch():
            settled(batch.images)
    return settled
