"""Where training and evaluation have their batches from: shuffled in each epoch, or all in order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from kdtool.train.together.processes import Processes
from kdtool.train.views.batch import Batch, Examples
from kdtool.train.views.order import Indices, batches

EVALUATION_BATCH = 64


class Batches(Protocol):
    """What yields the batches of an epoch; `Shuffled` and `InOrder` do, as anything else may that has these.

    A training that is to resume to the same bits wants the same batches each time it asks for an epoch.
    """

    def __len__(self) -> int:
        """How many batches an epoch has, every epoch alike."""

    def epoch(self, number: int, first: int, device: torch.device, group: Processes) -> Iterator[Batch]:
        """What this process of `group` sees of the batches of epoch `number`, from batch `first` on."""

    def name(self, index: int) -> str:
        """What a message calls the image of this number in `Batch.indices`."""


@dataclass(frozen=True)
class Shuffled:
    """Examples in another order each epoch; of every batch each process makes its share.

    Attributes:
        seed: of the order.
    """

    examples: Examples
    batch_size: int
    seed: int

    def __len__(self) -> int:
        return len(self._order(0))

    def epoch(self, number: int, first: int, device: torch.device, group: Processes) -> Iterator[Batch]:
        order = self._order(number)
        for step in range(first, len(order)):
            batch = self.examples.shared_batch(order[step], number, device, group)
            for following in order[step + 1 : step + 2]:
                self.examples.expect(following, number, group)
            yield batch

    def name(self, index: int) -> str:
        return self.examples.split.paths[index]

    def _order(self, epoch: int) -> list[Indices]:
        return batches(len(self.examples), self.batch_size, self.seed, epoch)


@dataclass(frozen=True)
class InOrder:
    """Examples one after the other, 64 at a time; the processes take turns, a batch each.

    Attributes:
        images: those of the split to look at; all where it is None.
    """

    examples: Examples
    images: range | None = None

    def __len__(self) -> int:
        return len(self._starts)

    def epoch(self, number: int, first: int, device: torch.device, group: Processes) -> Iterator[Batch]:
        for block in range(first + group.rank, len(self), group.count):
            if block + group.count < len(self):
                self.examples.expect(self._indices(block + group.count), number)
            yield self.examples.batch(self._indices(block), number, device)

    def name(self, index: int) -> str:
        return self.examples.split.paths[index]

    @property
    def _all(self) -> range:
        return range(len(self.examples)) if self.images is None else self.images

    @property
    def _starts(self) -> range:
        return range(self._all.start, self._all.stop, EVALUATION_BATCH)

    def _indices(self, block: int) -> Indices:
        start = self._starts[block]
        return np.arange(start, min(start + EVALUATION_BATCH, self._all.stop))
