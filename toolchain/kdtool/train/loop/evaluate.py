"""A network's answers to a split, in order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from kdtool.machine.threads import usable_threads
from kdtool.train.loop.objective import Objective, Output, combined
from kdtool.train.loop.signals import NEVER, StopRequest
from kdtool.train.together.processes import processes
from kdtool.train.views.batch import FINAL, Batch, Task

EVALUATION_BATCH = 64
FEWEST = 16  # images at a time: for fewer oneDNN computes in another order, and the last bits differ


@dataclass(frozen=True)
class Evaluation:
    """Mean loss, and top-1 (0 to 1; of mixed pictures the larger part counts)."""

    loss: float
    accuracy: float


@torch.no_grad()
def evaluate(
    network: nn.Module, task: Task, objective: Objective, device: torch.device, stop: StopRequest = NEVER
) -> Evaluation:
    """Run `network` in eval mode over the split, in order; its mode is put back afterwards.

    Several processes take turns, a block of images each; all of them know both figures in the end.

    Raises:
        StopAsked: `stop` was asked for, in any process; nothing is lost but this.
    """
    images = range(len(task.split.labels))
    losses = torch.zeros(len(_starts(images)), dtype=torch.float64)
    correct = torch.zeros(1, dtype=torch.int64)
    for block, batch, output in _outputs(network, task, device, images, FINAL, stop):
        losses[block] = objective(output, batch).item() * len(batch.indices)
        correct += (combined(output).argmax(1) == batch.target).sum().cpu()
    for figures in (losses, correct):
        processes().add(figures)  # what this process did not compute is 0
    return Evaluation(sum(losses.tolist()) / len(images), int(correct) / len(images))


@torch.no_grad()
def predict(
    network: nn.Module,
    task: Task,
    device: torch.device,
    epoch: int = FINAL,
    images: range | None = None,
    stop: StopRequest = NEVER,
) -> npt.NDArray[np.float32]:
    """Logits (N, K), computed and shared as in `evaluate`.

    Args:
        epoch: whose view of the pictures, where the task augments.
        images: those of the split to look at; all where it is None.

    Raises:
        StopAsked: as `evaluate`.
    """
    images = range(len(task.split.labels)) if images is None else images
    logits = torch.zeros(len(images), task.classes)
    for _, batch, output in _outputs(network, task, device, images, epoch, stop):
        first = int(batch.indices[0]) - images.start
        logits[first : first + len(batch.indices)] = combined(output).float().cpu()
    processes().add(logits)
    return logits.numpy()


def in_company(network: nn.Module, images: Tensor) -> Output:
    """`network(images)`, each image's output the same to the bit however many others are there."""
    missing = FEWEST - len(images)
    if missing <= 0:
        return network(images)  # type: ignore[no-any-return]
    output = network(torch.cat([images, images.new_zeros((missing, *images.shape[1:]))]))
    return tuple(one[: len(images)] for one in output) if isinstance(output, tuple) else output[: len(images)]


def _starts(images: range) -> range:
    return range(images.start, images.stop, EVALUATION_BATCH)


def _outputs(
    network: nn.Module, task: Task, device: torch.device, images: range, epoch: int, stop: StopRequest
) -> Iterator[tuple[int, Batch, Output]]:
    """Number of the block, its batch and the output, of the blocks that are this process's.

    The number of threads is that of training, whatever came before: sums depend on it in the last bits.
    """
    torch.set_num_threads(usable_threads())
    training = network.training
    network.eval()
    group, starts = processes(), _starts(images)
    try:
        for turn in range(0, len(starts), group.count):
            stop.leave_if_asked(group)
            block = turn + group.rank
            for following in starts[block + group.count : block + group.count + 1]:
                task.expect(_block(following, images), epoch)
            if block < len(starts):
                batch = task.batch(_block(starts[block], images), epoch, device)
                yield block, batch, in_company(network, batch.images)
    finally:
        network.train(training)


def _block(start: int, images: range) -> npt.NDArray[np.int64]:
    return np.arange(start, min(start + EVALUATION_BATCH, images.stop))
