"""A network's answers to a split, in order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from kdtool.train.batch import FINAL, Task
from kdtool.train.objective import Objective, combined

EVALUATION_BATCH = 64


@dataclass(frozen=True)
class Evaluation:
    """Mean loss, top-1 (0 to 1; of mixed pictures the larger part counts) and the logits (N, K)."""

    loss: float
    accuracy: float
    logits: npt.NDArray[np.float32]


@torch.no_grad()
def evaluate(
    network: nn.Module, task: Task, objective: Objective, device: torch.device, epoch: int = FINAL
) -> Evaluation:
    """Run `network` in eval mode over the split, in order; its mode is put back afterwards.

    Args:
        epoch: whose view of the pictures, where the task augments.
    """
    training = network.training
    network.eval()
    samples = len(task.split.labels)
    logits, loss_sum, correct = [], 0.0, 0
    for start in range(0, samples, EVALUATION_BATCH):
        batch = task.batch(np.arange(start, min(start + EVALUATION_BATCH, samples)), epoch, device)
        output = network(batch.images)
        loss_sum += objective(output, batch).item() * len(batch.target)
        answers = combined(output).float()
        correct += int((answers.argmax(1) == batch.target).sum().item())
        logits.append(answers.cpu())
    network.train(training)
    return Evaluation(loss_sum / samples, correct / samples, torch.cat(logits).numpy())
