"""Adapter from a caller's batches to the batches of the training loop."""

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
LOADING = 1  # random stream of the loader; the network has stream 0, since only one process trains


@dataclass(frozen=True)
class Loader:
    """Source of batches (`kdtool.train.views.batches.Batches`) from an iterable of (images, labels).

    Each call for an epoch gives the same batches: the random numbers of a DataLoader, of its sampler, and of
    a data set that draws from torch's generator depend on `seed`, epoch and batch alone. `open_loader` makes
    a loader.

    Attributes:
        field: name of the argument that gave the batches, for messages.
        length: number of batches in an epoch.
        classes: number of classes, K; labels are from 0 to K − 1. 0 if it is not known yet.
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
        """Seed the generators of a DataLoader, and tell the epoch to a sampler that has `set_epoch`."""
        parts: list[Any] = [self.batches]
        parts += [getattr(self.batches, name, None) for name in ("sampler", "batch_sampler")]
        for part in parts:
            if isinstance(getattr(part, "generator", None), torch.Generator):
                part.generator.manual_seed(torch.initial_seed())
            if hasattr(part, "set_epoch"):
                part.set_epoch(epoch)

    def _checked(self, batch: Any, step: int) -> tuple[Tensor, Tensor]:
        """Check a batch; return its images, and its labels as int64."""
        if batch is None:
            raise UsageError(
                f"{self.field} ends after {step} batches; at first it had {self.length}.",
                "Give the same number of batches in every epoch.",
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
                "floating point, and labels (B,) of integers.",
                GIVE,
            )
        self.require_classes(labels, step)
        return images, labels.long()

    def require_classes(self, labels: Tensor, step: int) -> None:
        """Raise UsageError if a label is not a class; `step` is the number of the batch, from 0."""
        low, high = int(labels.min()), int(labels.max())
        if self.classes and (low < 0 or high >= self.classes):
            raise UsageError(
                f"{self.field}: batch {step + 1} has the label {low if low < 0 else high}; allowed: 0 to "
                f"{self.classes - 1}, since the student returns {self.classes} logits.",
                "Number the classes from 0; the student needs one logit for each class.",
            )


def open_loader(field: str, batches: Iterable[Any], seed: int) -> Loader:
    """Make the loader of `batches`.

    Raises:
        UsageError: `batches` cannot be iterated, can be iterated only once, or is empty.
    """
    if not (hasattr(batches, "__iter__") or hasattr(batches, "__getitem__")):
        raise UsageError(f"{field} is {_described(batches)}; allowed: batches.", GIVE)
    if isinstance(batches, Iterator):
        raise UsageError(f"{field} is {_described(batches)}, which can be iterated only once.", GIVE)
    try:
        length = len(batches)  # type: ignore[arg-type]  # TypeError: counted below
    except TypeError:
        length = sum(1 for _ in batches)
    if not length:
        raise UsageError(f"{field} has no batches.", GIVE)
    return Loader(field, batches, length, seed)


def _described(value: Any) -> str:
    """Describe a value for a message."""
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)} of {str(value.dtype).removeprefix('torch.')}"
    if isinstance(value, list | tuple) and len(value) <= 3:
        return f"({', '.join(map(_described, value))})"
    return f"of type {type(value).__name__}"
