"""What one step sees: the pictures of a view, normalized for the network, with their labels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from kdtool.core.preprocess import Preprocess, UInt8Array
from kdtool.data.photographs import expect
from kdtool.data.reader import Prepared, Split
from kdtool.recipe.settings import AugmentSettings
from kdtool.train.together.processes import Processes
from kdtool.train.views.augment import Augment, target_distribution
from kdtool.train.views.order import Indices

NOTHING = AugmentSettings()
ALONE = Processes()
FINAL = 1 << 30  # the epoch of an objective that no longer warms up, as validation wants it


@dataclass(frozen=True)
class Batch:
    """Some pictures in some epoch.

    Where several processes share a batch, `pixels` and `images` are this one's share of it, (n, …);
    everything else is of the whole batch.

    Attributes:
        indices: (B,) in the split; epoch: from 0; view: which view of the pictures these are.
        pixels: (B, S, S, 3) uint8, as every network gets them.
        images: (B, 3, S, S) float32, normalized for the network in training, channels last in memory.
        target: (B,) class indices; of a mixed picture that of the larger part.
        distribution: (B, K) of the labels where pictures are mixed, else None.
        group: the processes that share it.
    """

    indices: Indices
    epoch: int
    view: int
    pixels: UInt8Array
    images: Tensor
    target: Tensor
    distribution: Tensor | None
    group: Processes = ALONE

    @property
    def labels(self) -> Tensor:
        """What cross-entropy wants: the distribution where there is one, else the class indices."""
        return self.target if self.distribution is None else self.distribution


@dataclass(frozen=True)
class Task:
    """One split as one network sees it.

    Attributes:
        preprocess: of the network; its mean and std normalize.
        augment, seed: what training changes in the pictures, and the seed of all that it draws.
        views: how many views augmentation makes; epoch e sees view e modulo `views`. 0: each its own.
    """

    split: Split
    classes: int
    preprocess: Preprocess
    augment: AugmentSettings = NOTHING
    seed: int = 0
    views: int = 0

    def batch(self, indices: Indices, epoch: int, device: torch.device) -> Batch:
        """The pictures `indices` in `epoch`."""
        number, distribution = self._view(epoch), None
        if self.augment.active:
            view = self._augment.view(indices, number)
            pixels, target = view.pixels, torch.from_numpy(view.target)
            if self.augment.mixes:
                distribution = target_distribution(view, self.classes).to(device)
        else:
            pixels, target = self.split.images[indices], torch.from_numpy(self.split.labels[indices])
        images = to_input(pixels, self.preprocess, device)
        return Batch(indices, epoch, number, pixels, images, target.to(device), distribution)

    def shared_batch(self, indices: Indices, epoch: int, device: torch.device, group: Processes) -> Batch:
        """As `batch`, of which each process of `group` makes the pictures of its share."""
        own = self.batch(indices[group.share(len(indices))], epoch, device)
        if group.count == 1:
            return own
        target = group.whole(own.target, len(indices))
        distribution = own.distribution
        if distribution is not None:
            distribution = group.whole(distribution, len(indices))
        return replace(own, indices=indices, target=target, distribution=distribution, group=group)

    def expect(self, indices: Indices, epoch: int, group: Processes = ALONE) -> None:
        """Begin to decode what `shared_batch` will want next, where nothing is kept decoded."""
        own = indices[group.share(len(indices))]
        made_of = self._augment.photographs(own, self._view(epoch)) if self.augment.active else own
        expect(self.split.images, made_of)

    def _view(self, epoch: int) -> int:
        """The number of the view that `epoch` shows."""
        if not self.augment.active:
            return 0
        return epoch % self.views if self.views else epoch

    @cached_property
    def _augment(self) -> Augment:
        return Augment(self.augment, self.split, self.seed)


def plain_task(prepared: Prepared, split: str, preprocess: Preprocess | None = None) -> Task:
    """A split as it is, normalized as the data's own preprocessing says or as `preprocess` does."""
    return Task(prepared.split(split), len(prepared.classes), preprocess or prepared.preprocess)


def to_input(pixels: UInt8Array, preprocess: Preprocess, device: torch.device) -> Tensor:
    """`Preprocess.normalize` on the device: (B, S, S, 3) uint8 → (B, 3, S, S), the same float32 values."""
    images = torch.from_numpy(np.array(pixels)).to(device).float().div_(255)
    mean, std = (torch.tensor(values, device=device) for values in (preprocess.mean, preprocess.std))
    return images.sub_(mean).div_(std).permute(0, 3, 1, 2)  # NHWC in memory is channels last
