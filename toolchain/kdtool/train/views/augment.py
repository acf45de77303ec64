"""Views: random augmentations of images, as a pure function of (seed, view, sample).

A view does not depend on batches, order or earlier random numbers. So the teacher, which computes a view
once, and the student, which sees it in some epoch, get the same pixels. The random numbers do not depend on
the size of a view either: at another size the teacher sees the same cut, mirrored and mixed alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from kdtool.core.preprocess import UInt8Array
from kdtool.data.pixels.whole import Whole
from kdtool.data.reader import Split
from kdtool.train.views.order import Indices, balanced


@dataclass(frozen=True)
class View:
    """Images of one view.

    Attributes:
        pixels: (B, S, S, 3) uint8.
        target: (B,) int64, the class; for a mixed image the class of the larger part.
        second: (B,) int64, the class of the smaller part of a mixed image; otherwise equal to `target`.
        share: (B,) float32, the size of the smaller part, from 0 to 0.5.
    """

    pixels: Tensor
    target: Indices
    second: Indices
    share: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Augment:
    """Augmentation that makes the views of a split.

    The steps are random-resized crop (Szegedy et al. 2015), flip, RandAugment (Cubuk et al. 2020,
    arXiv:1909.13719), then mixup (Zhang et al. 2018, arXiv:1710.09412) or cutmix (Yun et al. 2019,
    arXiv:1905.04899). If mixup and cutmix are both on, each image gets one of them at random. The partner of
    a mixed image is drawn from the whole split; it has its own crop, flip and colours of the same view.

    Attributes:
        seed: seed of all random numbers.
        crop: smallest share of the area that a crop keeps, of the whole photograph if the split has it; 1
            means no crop.
        flip: mirror an image with probability 1/2.
        randaugment: number of RandAugment operations for each image.
        magnitude: strength of these operations, from 0 to 30.
        mixup, cutmix: α of the Beta(α, α) distribution; 0 means off.
        balanced: the partners of mixed images are of every class alike.
    """

    DRAWN: ClassVar = ("crop", "flip", "randaugment", "magnitude", "mixup", "cutmix")

    split: Split
    seed: int
    crop: float = 1.0
    flip: bool = False
    randaugment: int = 0
    magnitude: int = 9
    mixup: float = 0.0
    cutmix: float = 0.0
    balanced: bool = False

    @property
    def mixes(self) -> bool:
        """True if mixup or cutmix makes one image with two labels from two images."""
        return self.mixup > 0 or self.cutmix > 0

    def view(self, indices: Indices, number: int) -> View:
        """Make view `number` (from 0) of the images `indices`."""
        labels = self.split.labels[indices]
        pixels = self._augmented(indices, number)
        if not self.mixes:
            return View(pixels, labels, labels, np.zeros(len(labels), np.float32))
        partners = self._partners(indices, number)
        partner_pixels = self._augmented(partners, number)
        mixed = [
            self._mix(image, partner, int(index), number)
            for image, partner, index in zip(pixels, partner_pixels, indices, strict=True)
        ]
        share = np.array([part for _, part in mixed], np.float32)
        first, second = labels, self.split.labels[partners]
        major = share <= 0.5
        return View(
            torch.stack([image for image, _ in mixed]),
            np.where(major, first, second),
            np.where(major, second, first),
            np.where(major, share, 1 - share).astype(np.float32),
        )

    def source_images(self, indices: Indices, number: int) -> Indices:
        """Indices of the images that view `number` of `indices` needs, with the partners of mixed images."""
        partners = [self._partners(indices, number)] if self.mixes else []
        return np.concatenate([indices, *partners])

    def _partners(self, indices: Indices, number: int) -> Indices:
        random = np.random.default_rng((self.seed, number))
        if not self.balanced:
            return random.permutation(len(self.split.labels))[indices]
        drawn = balanced(self.split.labels, self.seed, number)
        return drawn[random.permutation(len(self.split.labels))[indices] % len(drawn)]

    def _augmented(self, indices: Indices, number: int) -> Tensor:
        images = []
        with torch.random.fork_rng(devices=[]):
            for index, pixels in zip(indices, self._sources(indices), strict=True):
                torch.manual_seed(_key(self.seed, number, int(index)))
                image = torch.from_numpy(np.array(pixels)).permute(2, 0, 1)  # a memory map is read-only
                images.append(self._transform(image).permute(1, 2, 0))
        return torch.stack(images)

    @property
    def whole(self) -> Whole | None:
        """The whole photographs that views are cut from; None if views start from the prepared images."""
        return self.split.whole if self.crop < 1 else None

    def _sources(self, indices: Indices) -> Iterable[UInt8Array]:
        if self.whole is None:
            return self.split.images[indices]
        return (self.whole.images[int(index)] for index in indices)

    @cached_property
    def _transform(self) -> v2.Transform:
        steps: list[v2.Transform] = []
        if self.crop < 1:
            size = self.split.images.shape[1]
            steps.append(v2.RandomResizedCrop(size, scale=(self.crop, 1.0), antialias=True))
        if self.flip:
            steps.append(v2.RandomHorizontalFlip())
        if self.randaugment:
            bilinear = InterpolationMode.BILINEAR
            steps.append(v2.RandAugment(self.randaugment, self.magnitude, interpolation=bilinear))
        return v2.Compose(steps) if steps else v2.Identity()

    def _mix(self, image: Tensor, partner: Tensor, index: int, number: int) -> tuple[Tensor, float]:
        """Mix two images; returns the result and the part of it, from 0 to 1, that comes from `partner`."""
        generator = np.random.default_rng((self.seed, number, index, 1))
        if self.cutmix > 0 and (self.mixup == 0 or generator.random() < 0.5):
            return _cut(image, partner, 1 - generator.beta(self.cutmix, self.cutmix), generator)
        part = 1 - generator.beta(self.mixup, self.mixup)
        return (image * (1 - part) + partner * part).round().to(torch.uint8), part


def _cut(image: Tensor, partner: Tensor, area: float, generator: np.random.Generator) -> tuple[Tensor, float]:
    """Paste a box of `partner` into `image`; its centre is anywhere, and the border of the image cuts it.

    Args:
        area: area of the box before it is cut, as a share of the image.
    """
    size = image.shape[0]
    half = size * np.sqrt(area) / 2
    row, column = generator.uniform(0, size, 2)
    top, bottom = (int(np.clip(round(row + side), 0, size)) for side in (-half, half))
    left, right = (int(np.clip(round(column + side), 0, size)) for side in (-half, half))
    mixed = image.clone()
    mixed[top:bottom, left:right] = partner[top:bottom, left:right]
    return mixed, (bottom - top) * (right - left) / size**2


def _key(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0])


def target_distribution(view: View, classes: int) -> Tensor:
    """Label distribution (B, K) float32: 1 − share for `target`, share for `second`.

    A part without a label adds nothing, so that a row may sum to less than 1.
    """
    distribution = np.zeros((len(view.target), classes), np.float32)
    for labels, share in ((view.target, 1 - view.share), (view.second, view.share)):
        (rows,) = np.nonzero(labels >= 0)
        np.add.at(distribution, (rows, labels[rows]), share[rows])
    return torch.from_numpy(distribution)
