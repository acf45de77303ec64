"""A network's answers to a split, in order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from kdtool.core.threads import usable_threads
from kdtool.train.batch import FINAL, Task
from kdtool.train.objective import Objective, combined
from kdtool.train.processes import processes

EVALUATION_BATCH = 64


@dataclass(frozen=True)
class Evaluation:
    """Mean loss, top-1 (0 to 1; of mixed pictures the larger part counts) and the logits (N, K)."""

    loss: float
    accuracy: float
    logits: npt.NDArray[np.float32]


@torch.no_grad()
def evaluate(
    network: nn.Module,
    task: Task,
    objective: Objective,
    device: torch.device,
    epoch: int = FINAL,
    images: range | None = None,
) -> Evaluation:
    """Run `network` in eval mode over the split, in order; its mode is put back afterwards.

    Several processes take turns, a block of images each; all of them know every figure in the end. The
    number of threads is that of training, whatever came before: sums depend on it in the last bits.

    Args:
        epoch: whose view of the pictures, where the task augments.
        images: those of the split to look at; all where it is None.
    """
    torch.set_num_threads(usable_threads())
    training = network.training
    network.eval()
    group = processes()
    images = range(len(task.split.labels)) if images is None else images
    starts = range(images.start, images.stop, EVALUATION_BATCH)
    losses, correct = torch.zeros(len(starts), dtype=torch.float64), torch.zeros(1, dtype=torch.int64)
    logits = torch.zeros(len(images), task.classes)
    mine = [
        np.arange(start, min(start + EVALUATION_BATCH, images.stop))
        for start in starts[group.rank :: group.count]
    ]
    for turn, rows in enumerate(mine):
        batch = task.batch(rows, epoch, device)
        for following in mine[turn + 1 : turn + 2]:
            task.expect(following, epoch)
        output = network(batch.images)
        first = rows[0] - images.start
        losses[first // EVALUATION_BATCH] = objective(output, batch).item() * len(rows)
        answers = combined(output).float()
        correct += (answers.argmax(1) == batch.target).sum().cpu()
        logits[first : first + len(rows)] = answers.cpu()
    network.train(training)
    for figures in (losses, correct, logits):
        group.add(figures)  # what this process did not compute is 0
    return Evaluation(sum(losses.tolist()) / len(images), int(correct) / len(images), logits.numpy())
