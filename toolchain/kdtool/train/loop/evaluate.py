"""Evaluate a network: its logits, loss and accuracy on a split."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdtool.machine.threads import usable_threads
from kdtool.results.health import exploded, one_class
from kdtool.train.loop.criterion import Criterion, Output, combined
from kdtool.train.loop.signals import NEVER, StopRequest
from kdtool.train.together.processes import processes
from kdtool.train.views.batch import FINAL, Batch, Examples
from kdtool.train.views.batches import Batches, InOrder

FEWEST = 16  # images in a batch; with fewer, oneDNN adds in another order and the last bits differ


@dataclass(frozen=True)
class Evaluation:
    """Mean loss and top-1 accuracy (0 to 1); the label of a mixed image is the class of its larger part.

    Attributes:
        sound: False if the cross-entropy exploded, or nearly all images get one class
            (`kdtool.results.health`).
    """

    loss: float
    accuracy: float
    sound: bool = True


@torch.no_grad()
def evaluate(
    network: nn.Module, data: Batches, criterion: Criterion, device: torch.device, stop: StopRequest = NEVER
) -> Evaluation:
    """Run `network` in eval mode over all batches, in order; afterwards it has its former mode again.

    Several processes take turns, one batch each; all of them get the result.

    Raises:
        StopAsked: a process got a signal to stop; only this evaluation is lost.
    """
    losses = torch.zeros(2, len(data), dtype=torch.float64)  # of the criterion, cross-entropy
    counts = torch.zeros(2, dtype=torch.int64)  # correct images, all images
    classes: list[Tensor] = [torch.zeros(0, dtype=torch.int64)] * 2  # images by prediction, by label
    for number, batch, output in _outputs(network, data, device, FINAL, stop):
        logits = combined(output).float()
        entropy = F.cross_entropy(logits, batch.target).item()
        losses[:, number] = torch.tensor([criterion(output, batch).item(), entropy]) * len(batch.indices)
        predicted = logits.argmax(1)
        counts += torch.tensor([int((predicted == batch.target).sum()), len(batch.indices)])
        if not len(classes[0]):
            classes = [torch.zeros(logits.shape[1], dtype=torch.int64) for _ in range(2)]
        for tally, found in zip(classes, (predicted, batch.target), strict=True):
            tally += torch.bincount(found.cpu(), minlength=len(tally))
    (number_of_classes,) = processes().largest(len(classes[0]))  # a process may have no batch
    tallies = torch.zeros(2, number_of_classes, dtype=torch.int64)
    tallies[:, : len(classes[0])] = torch.stack(classes)
    for figures in (losses, counts, tallies):
        processes().sum_in_place(figures)  # zero for the batches of other processes
    correct, images = counts.tolist()
    value, entropy = (sum(row) / images for row in losses.tolist())
    predicted, labels = (tallies / images).tolist()
    common = max(range(number_of_classes), key=predicted.__getitem__)
    broken = exploded(entropy, number_of_classes) or one_class(predicted[common], labels[common])
    return Evaluation(value, correct / images, sound=not broken)


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
