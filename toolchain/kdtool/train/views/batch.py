"""Input of one training step: the images of a view, normalized for the network, with their labels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from kdtool.core.preprocess import Preprocess
from kdtool.data.pixels.photographs import expect
from kdtool.data.reader import Prepared, Split
from kdtool.train.together.processes import Processes
from kdtool.train.views.augment import Augment, target_distribution
from kdtool.train.views.order import Indices

ONE_PROCESS = Processes()
FINAL = 1 << 30  # the epoch for validation: every criterion has finished its warm-up by then


@dataclass(frozen=True)
class Batch:
    """Images and labels of one step.

    If several processes share a batch, `pixels` and `images` are the share (n, …) of this process; all other
    fields belong to the whole batch.

    Attributes:
        indices: (B,) numbers of the images in the split.
        epoch: number of the epoch, from 0.
        images: (B, 3, S, S) float32, normalized for the network in training, channels last in memory.
        target: (B,) class indices, −1 for an image without a label; for a mixed image the class of the larger
            part.
        view: number of the view that the images show.
        pixels: (B, S, S, 3) uint8 on the CPU, for a teacher with another normalization.
        distribution: (B, K), the label distribution if images are mixed; otherwise None.
        group: the processes that share the batch.
        some_unlabelled: True if images of the split have no label.
    """

    indices: Indices
    epoch: int
    images: Tensor
    target: Tensor
    view: int = 0
    pixels: Tensor | None = None
    distribution: Tensor | None = None
    group: Processes = ONE_PROCESS
    some_unlabelled: bool = False

    @property
    def labels(self) -> Tensor:
        """Targets of cross-entropy: the label distribution if there is one, otherwise the class indices."""
        return self.target if self.distribution is None else self.distribution


@dataclass(frozen=True)
class Examples:
    """One split, prepared for one network.

    Attributes:
        preprocess: preprocessing of the network; its mean and std normalize the images.
        augment: augmentation in training; None means no augmentation.
        views: number of views; epoch e sees view e modulo `views`. 0 means a new view in each epoch.
    """

    split: Split
    classes: int
    preprocess: Preprocess
    augment: Augment | None = None
    views: int = 0

    def __len__(self) -> int:
        return len(self.split.labels)

    def batch(self, indices: Indices, epoch: int, device: torch.device) -> Batch:
        """Make the batch of the images `indices` in `epoch`."""
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
        return Batch(
            indices,
            epoch,
            images,
            target.to(device),
            number,
            pixels,
            distribution,
            some_unlabelled=self.split.some_unlabelled,
        )

    def shared_batch(self, indices: Indices, epoch: int, device: torch.device, group: Processes) -> Batch:
        """Make a batch like `batch`; each process of `group` makes only the images of its share."""
        share = self.batch(indices[group.share(len(indices))], epoch, device)
        if group.count == 1:
            return share
        target = group.gather(share.target, len(indices))
        distribution = share.distribution
        if distribution is not None:
            distribution = group.gather(distribution, len(indices))
        return replace(share, indices=indices, target=target, distribution=distribution, group=group)

    def expect(self, indices: Indices, epoch: int, group: Processes = ONE_PROCESS) -> None:
        """Begin to decode the photo files that `shared_batch` will need next, unless pixels are cached."""
        images = indices[group.share(len(indices))]
        source: Any = self.split.images
        if self.augment is not None:
            images = self.augment.source_images(images, self._view(epoch))
            source = self.augment.whole.images if self.augment.whole else source
        expect(source, images)

    def resized(self, split: Split, preprocess: Preprocess) -> Examples:
        """Return the same views of the same photographs, at the size of `split`, for another network."""
        augment = self.augment and replace(self.augment, split=split)
        return replace(self, split=split, preprocess=preprocess, augment=augment)

    def _view(self, epoch: int) -> int:
        """Number of the view that `epoch` shows."""
        if self.augment is None:
            return 0
        return epoch % self.views if self.views else epoch


def plain_examples(prepared: Prepared, split: str, preprocess: Preprocess | None = None) -> Examples:
    """Return a split without augmentation, normalized with `preprocess` or, by default, as the data says."""
    return Examples(prepared.split(split), len(prepared.classes), preprocess or prepared.preprocess)


def to_input(pixels: Tensor, preprocess: Preprocess, device: torch.device) -> Tensor:
    """Normalize with torch on the device: (B, S, S, 3) uint8 → (B, 3, S, S) float32.

    The result equals `Preprocess.normalize` to the bit; tests/unit/test_augment.py checks this.
    """
    images = pixels.to(device).float().div_(255)
    mean, std = (torch.tensor(values, device=device) for values in (preprocess.mean, preprocess.std))
    return images.sub_(mean).div_(std).permute(0, 3, 1, 2)  # (B, S, S, 3) in memory is channels last
