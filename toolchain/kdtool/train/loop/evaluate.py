"""Evaluate a network: its logits, loss and accuracy on a split."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdtool.machine.threads import usable_threads
from kdtool.results.classes import Tally
from kdtool.results.health import fault_of
from kdtool.train.loop.criterion import Criterion, Output, combined
from kdtool.train.loop.signals import NEVER, StopRequest
from kdtool.train.together.processes import processes
from kdtool.train.views.batch import FINAL, Batch, Examples
from kdtool.train.views.batches import Batches, InOrder

FEWEST = 16  # images in a batch; with fewer, oneDNN adds in another order and the last bits differ


@dataclass(frozen=True)
class Evaluation:
    """Answers of a network to a split; the label of a mixed image is the class of its larger part.

    Attributes:
        loss: mean loss of the criterion.
        entropy: mean cross-entropy.
        tally: number of images by class.
    """

    loss: float
    entropy: float
    tally: Tally

    @property
    def accuracy(self) -> float:
        """Top-1 accuracy, in [0, 1]."""
        return self.tally.accuracy

    @property
    def sound(self) -> bool:
        """True if nothing makes the answers useless (`kdtool.results.health`)."""
        return self.fault() is None

    def fault(self, classes: Sequence[str] = ()) -> str | None:
        """Say what makes the answers useless, if anything does."""
        return fault_of(self.tally, classes, self.entropy)


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
    found: list[tuple[Tensor, Tensor]] = []  # labels and predictions of each batch
    classes = 0
    for number, batch, output in _outputs(network, data, device, FINAL, stop):
        logits = combined(output).float()
        entropy = F.cross_entropy(logits, batch.target).item()
        losses[:, number] = torch.tensor([criterion(output, batch).item(), entropy]) * len(batch.indices)
        found.append((batch.target.cpu(), logits.argmax(1).cpu()))
        classes = logits.shape[1]
    (classes,) = processes().largest(classes)  # a process may have no batch
    counts = torch.zeros(3, classes, dtype=torch.int64)  # images by label, by prediction, by both
    for labels, predicted in found:
        for row, of in zip(counts, (labels, predicted, labels[labels == predicted]), strict=True):
            row += torch.bincount(of, minlength=classes)
    for figures in (losses, counts):
        processes().sum_in_place(figures)  # zero for the batches of other processes
    tally = Tally(*counts.numpy())
    loss, entropy = (sum(row) / tally.images for row in losses.tolist())
    return Evaluation(loss, entropy, tally)


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
