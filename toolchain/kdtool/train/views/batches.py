"""Sources of batches for training and evaluation: shuffled in each epoch, or in order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from kdtool.train.together.processes import Processes
from kdtool.train.views.batch import Batch, Examples
from kdtool.train.views.order import Indices, balanced, batches

EVALUATION_BATCH = 64


class Batches(Protocol):
    """Source of batches: `Shuffled`, `InOrder`, or any other class with these methods.

    A training resumes to the same bits only if each call for an epoch gives the same batches.
    """

    def __len__(self) -> int:
        """Number of batches in an epoch; it is the same for all epochs."""

    def epoch(self, number: int, first: int, device: torch.device, group: Processes) -> Iterator[Batch]:
        """Yield the batches of epoch `number` for this process of `group`, from batch `first` on."""

    def name(self, index: int) -> str:
        """Name of the image `index` in messages; `index` is one of `Batch.indices`."""


@dataclass(frozen=True)
class Shuffled:
    """Examples in a new order in each epoch; each process makes its share of every batch.

    Attributes:
        seed: seed of the order.
        balanced: every class is drawn alike (`kdtool.train.views.order.balanced`).
    """

    examples: Examples
    batch_size: int
    seed: int
    balanced: bool = False

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
        chosen = balanced(self.examples.split.labels, self.seed, epoch) if self.balanced else None
        return batches(len(self.examples), self.batch_size, self.seed, epoch, chosen)


@dataclass(frozen=True)
class InOrder:
    """Examples in order, in batches of 64 images; the processes take turns, one batch each.

    Attributes:
        images: range of the images of the split to use; None means all.
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
