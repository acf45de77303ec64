"""Evaluate a network: its logits, loss and accuracy on a split."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from kdtool.machine.threads import usable_threads
from kdtool.train.loop.criterion import Criterion, Output, combined
from kdtool.train.loop.signals import NEVER, StopRequest
from kdtool.train.together.processes import processes
from kdtool.train.views.batch import FINAL, Batch, Examples
from kdtool.train.views.batches import Batches, InOrder

FEWEST = 16  # images in a batch; with fewer, oneDNN adds in another order and the last bits differ


@dataclass(frozen=True)
class Evaluation:
    """Mean loss and top-1 accuracy (0 to 1); the label of a mixed image is the class of its larger part."""

    loss: float
    accuracy: float


@torch.no_grad()
def evaluate(
    network: nn.Module, data: Batches, criterion: Criterion, device: torch.device, stop: StopRequest = NEVER
) -> Evaluation:
    """Run `network` in eval mode over all batches, in order; afterwards it has its former mode again.

    Several processes take turns, one batch each; all of them get the result.

    Raises:
        StopAsked: a process got a signal to stop; only this evaluation is lost.
    """
    losses = torch.zeros(len(data), dtype=torch.float64)
    counts = torch.zeros(2, dtype=torch.int64)  # correct images, all images
    for number, batch, output in _outputs(network, data, device, FINAL, stop):
        losses[number] = criterion(output, batch).item() * len(batch.indices)
        correct = int((combined(output).argmax(1) == batch.target).sum())
        counts += torch.tensor([correct, len(batch.indices)])
    for figures in (losses, counts):
        processes().sum_in_place(figures)  # zero for the batches of other processes
    correct, images = counts.tolist()
    return Evaluation(sum(losses.tolist()) / images, correct / images)


@torch.no_grad()
def predict(
    network: nn.Module,
    examples: Examples,
    device: torch.device,
    epoch: int = FINAL,
    images: range | None = None,
    stop: StopRequest = NEVER,
) -> npt.NDArray[np.float32]:
    """Compute the logits (N, K) in eval mode; several processes take turns as in `evaluate`.

    Args:
        epoch: epoch whose view is used, if there is augmentation.
        images: range of the images of the split to use; None means all.

    Raises:
        StopAsked: a process got a signal to stop.
    """
    images = range(len(examples)) if images is None else images
    logits = torch.zeros(len(images), examples.classes)
    for _, batch, output in _outputs(network, InOrder(examples, images), device, epoch, stop):
        first = int(batch.indices[0]) - images.start
        logits[first : first + len(batch.indices)] = combined(output).float().cpu()
    processes().sum_in_place(logits)
    return logits.numpy()


def padded_forward(network: nn.Module, images: Tensor) -> Output:
    """Compute `network(images)` so that the batch size does not change the output of an image by one bit."""
    missing, number = FEWEST - len(images), len(images)
    if missing <= 0:
        return network(images)  # type: ignore[no-any-return]
    output = network(torch.cat([images, images.new_zeros((missing, *images.shape[1:]))]))
    return tuple(head[:number] for head in output) if isinstance(output, tuple) else output[:number]


def _outputs(
    network: nn.Module, data: Batches, device: torch.device, epoch: int, stop: StopRequest
) -> Iterator[tuple[int, Batch, Output]]:
    """Yield number, batch and output for each batch of this process.

    The number of threads is set to that of training, because the last bits of sums depend on it.
    """
    torch.set_num_threads(usable_threads())
    training = network.training
    network.eval()
    group = processes()
    batches = data.epoch(epoch, 0, device, group)
    try:
        for turn in range(0, len(data), group.count):
            stop.raise_if_asked(group)
            if turn + group.rank < len(data):
                batch = next(batches)
                yield turn + group.rank, batch, padded_forward(network, batch.images)
    finally:
        network.train(training)
