"""What one step sees: the pictures of a view, normalized for the network, with their labels."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from kdtool.core.preprocess import Preprocess
from kdtool.data.photographs import expect
from kdtool.data.reader import Prepared, Split
from kdtool.train.together.processes import Processes
from kdtool.train.views.augment import Augment, target_distribution
from kdtool.train.views.order import Indices

ALONE = Processes()
FINAL = 1 << 30  # the epoch of a criterion that no longer warms up, as validation wants it


@dataclass(frozen=True)
class Batch:
    """Some pictures in some epoch.

    Where several processes share a batch, `pixels` and `images` are this one's share of it, (n, …);
    everything else is of the whole batch.

    Attributes:
        indices: (B,) numbers of the images among all; epoch: from 0.
        images: (B, 3, S, S) float32, normalized for the network in training, channels last in memory.
        target: (B,) class indices; of a mixed picture that of the larger part.
        view: which view of the pictures these are.
        pixels: (B, S, S, 3) uint8 on the CPU, for a teacher that normalizes otherwise.
        distribution: (B, K) of the labels where pictures are mixed, otherwise None.
        group: the processes that share it.
    """

    indices: Indices
    epoch: int
    images: Tensor
    target: Tensor
    view: int = 0
    pixels: Tensor | None = None
    distribution: Tensor | None = None
    group: Processes = ALONE

    @property
    def labels(self) -> Tensor:
        """What cross-entropy wants: the distribution where there is one, otherwise the class indices."""
        return self.target if self.distribution is None else self.distribution


@dataclass(frozen=True)
class Examples:
    """One split as one network sees it.

    Attributes:
        preprocess: of the network; its mean and std normalize.
        augment: what training changes in the pictures; None: nothing.
        views: how many views augmentation makes; epoch e sees view e modulo `views`. 0: each its own.
    """

    split: Split
    classes: int
    preprocess: Preprocess
    augment: Augment | None = None
    views: int = 0

    def __len__(self) -> int:
        return len(self.split.labels)

    def batch(self, indices: Indices, epoch: int, device: torch.device) -> Batch:
        """The pictures `indices` in `epoch`."""
        number, distribution = self._view(epoch), None
        if self.augment is not None:
            view = self.augment.view(indices, number)
            pixels, target = view.pixels, torch.from_numpy(view.target)
            if self.augment.mixes:
                distribution = target_distribution(view, self.classes).to(device)
        else:
            pixels = torch.from_numpy(self.split.images[indices])
            target = torch.from_numpy(self.split.labels[indices])
        images = to_input(pixels, self.preprocess, device)
        return Batch(indices, epoch, images, target.to(device), number, pixels, distribution)

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
        made_of = own if self.augment is None else self.augment.photographs(own, self._view(epoch))
        expect(self.split.images, made_of)

    def _view(self, epoch: int) -> int:
        """The number of the view that `epoch` shows."""
        if self.augment is None:
            return 0
        return epoch % self.views if self.views else epoch


def plain_examples(prepared: Prepared, split: str, preprocess: Preprocess | None = None) -> Examples:
    """A split as it is, normalized as the data's own preprocessing says or as `preprocess` does."""
    return Examples(prepared.split(split), len(prepared.classes), preprocess or prepared.preprocess)


def to_input(pixels: Tensor, preprocess: Preprocess, device: torch.device) -> Tensor:
    """The twin of `Preprocess.normalize` in torch, on the device: (B, S, S, 3) uint8 → (B, 3, S, S) float32.

    tests/unit/test_augment.py holds both to the same bits.
    """
    images = pixels.to(device).float().div_(255)
    mean, std = (torch.tensor(values, device=device) for values in (preprocess.mean, preprocess.std))
    return images.sub_(mean).div_(std).permute(0, 3, 1, 2)  # NHWC in memory is channels last
