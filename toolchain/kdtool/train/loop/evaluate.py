"""A network's outputs on a split, in order."""

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

FEWEST = 16  # images at a time: for fewer oneDNN computes in another order, and the last bits differ


@dataclass(frozen=True)
class Evaluation:
    """Mean loss, and top-1 (0 to 1; of mixed pictures the larger part counts)."""

    loss: float
    accuracy: float


@torch.no_grad()
def evaluate(
    network: nn.Module, data: Batches, criterion: Criterion, device: torch.device, stop: StopRequest = NEVER
) -> Evaluation:
    """Run `network` in eval mode over all batches, in order; its mode is put back afterwards.

    Several processes take turns, a batch each; all of them know both figures in the end.

    Raises:
        StopAsked: `stop` was asked for, in any process; nothing is lost but this.
    """
    losses = torch.zeros(len(data), dtype=torch.float64)
    counts = torch.zeros(2, dtype=torch.int64)  # of correct images, and of all
    for number, batch, output in _outputs(network, data, device, FINAL, stop):
        losses[number] = criterion(output, batch).item() * len(batch.indices)
        correct = int((combined(output).argmax(1) == batch.target).sum())
        counts += torch.tensor([correct, len(batch.indices)])
    for figures in (losses, counts):
        processes().add(figures)  # what this process did not compute is 0
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
    """Logits (N, K), computed and shared as in `evaluate`.

    Args:
        epoch: whose view of the pictures, where augmentation changes them.
        images: those of the split to look at; all where it is None.

    Raises:
        StopAsked: as `evaluate`.
    """
    images = range(len(examples)) if images is None else images
    logits = torch.zeros(len(images), examples.classes)
    for _, batch, output in _outputs(network, InOrder(examples, images), device, epoch, stop):
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


def _outputs(
    network: nn.Module, data: Batches, device: torch.device, epoch: int, stop: StopRequest
) -> Iterator[tuple[int, Batch, Output]]:
    """Number of the batch, the batch and the output, of the batches that are this process's.

    The number of threads is that of training, whatever came before: sums depend on it in the last bits.
    """
    torch.set_num_threads(usable_threads())
    training = network.training
    network.eval()
    group = processes()
    own = data.epoch(epoch, 0, device, group)
    try:
        for turn in range(0, len(data), group.count):
            stop.leave_if_asked(group)
            if turn + group.rank < len(data):
                batch = next(own)
                yield turn + group.rank, batch, in_company(network, batch.images)
    finally:
        network.train(training)
