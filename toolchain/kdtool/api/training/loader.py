"""Batches that a caller brings, as the training loop wants them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kdtool.core.errors import UsageError
from kdtool.train.together.processes import Processes
from kdtool.train.views.batch import Batch
from kdtool.train.views.order import reseed

GIVE = "Give a torch.utils.data.DataLoader, or a list of batches."
LOADING = 1  # random stream of the loader; that of the network is 0, since one process alone trains


@dataclass(frozen=True)
class Loader:
    """An iterable of (images, labels) as `kdtool.train.views.batches.Batches`; `open_loader` makes one.

    An epoch gives the same batches whenever it is asked for: what a DataLoader and its sampler draw, and what
    a data set draws from torch's generator, follows from `seed`, epoch and batch.

    Attributes:
        field: the argument that gave the batches, for messages.
        length: batches in an epoch.
        classes: labels are below it; 0 where it is not known yet.
    """

    field: str
    batches: Iterable[Any]
    length: int
    seed: int
    classes: int = 0

    def __len__(self) -> int:
        return self.length

    def epoch(
        self,
        number: int,
        first: int,
        device: torch.device,
        group: Processes,  # noqa: ARG002 (one process)
    ) -> Iterator[Batch]:
        reseed(self.seed, number, 0, LOADING)
        self._begin(number)
        batches, seen = iter(self.batches), 0
        for step in range(self.length):
            reseed(self.seed, number, step, LOADING)
            images, labels = self._checked(next(batches, None), step)
            indices = np.arange(seen, seen + len(labels))
            seen += len(labels)
            if step >= first:
                yield Batch(indices, number, images.to(device), labels.to(device))

    def name(self, index: int) -> str:
        return f"{self.field}[{index}]"

    def _begin(self, epoch: int) -> None:
        """Set the generators of a DataLoader, and tell a sampler that wants to know the epoch."""
        parts: list[Any] = [self.batches]
        parts += [getattr(self.batches, name, None) for name in ("sampler", "batch_sampler")]
        for part in parts:
            if isinstance(getattr(part, "generator", None), torch.Generator):
                part.generator.manual_seed(torch.initial_seed())
            if hasattr(part, "set_epoch"):
                part.set_epoch(epoch)

    def _checked(self, batch: Any, step: int) -> tuple[Tensor, Tensor]:
        """Images, and labels as int64."""
        if batch is None:
            raise UsageError(
                f"{self.field} ends after {step} batches; before it had {self.length}.",
                "Every epoch needs as many batches.",
            )
        images, labels = batch if isinstance(batch, list | tuple) and len(batch) == 2 else (batch, None)
        if not (
            isinstance(images, Tensor)
            and isinstance(labels, Tensor)
            and images.is_floating_point()
            and not (labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool)
            and images.ndim == 4
            and images.shape[:1] == labels.shape
            and len(labels)
        ):
            raise UsageError(
                f"{self.field}: batch {step + 1} is {_described(batch)}; allowed: images (B, C, H, W) of "
                "floating point, and labels (B,) of whole numbers.",
                GIVE,
            )
        self.require_classes(labels, step)
        return images, labels.long()

    def require_classes(self, labels: Tensor, step: int) -> None:
        """Raise UsageError where a label is no class; `step` is the number of the batch, from 0."""
        low, high = int(labels.min()), int(labels.max())
        if self.classes and (low < 0 or high >= self.classes):
            raise UsageError(
                f"{self.field}: batch {step + 1} has the label {low if low < 0 else high}; allowed: 0 to "
                f"{self.classes - 1}, since the student gives {self.classes} logits.",
                "Number the classes from 0, and give the student as many logits.",
            )


def open_loader(field: str, batches: Iterable[Any], seed: int) -> Loader:
    """The loader of `batches`.

    Raises:
        UsageError: they cannot be gone through, or only once, or there are none.
    """
    if not (hasattr(batches, "__iter__") or hasattr(batches, "__getitem__")):
        raise UsageError(f"{field} is {_described(batches)}; allowed: batches.", GIVE)
    if isinstance(batches, Iterator):
        raise UsageError(f"{field} is {_described(batches)}, which can be gone through only once.", GIVE)
    try:
        length = len(batches)  # type: ignore[arg-type]  # what has no length is counted
    except TypeError:
        length = sum(1 for _ in batches)
    if not length:
        raise UsageError(f"{field} has no batches.", GIVE)
    return Loader(field, batches, length, seed)


def _described(value: Any) -> str:
    """What a value is, for a message."""
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)} of {str(value.dtype).removeprefix('torch.')}"
    if isinstance(value, list | tuple) and len(value) <= 3:
        return f"({', '.join(map(_described, value))})"
    return f"of type {type(value).__name__}"
