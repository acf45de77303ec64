"""Views: what augmentation makes of a picture, as a pure function of (seed, view, sample).

Nothing depends on batches, order or what was drawn before: whoever asks for a view, the teacher once
or the student in its epoch, gets the same pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from kdtool.data.reader import Split
from kdtool.train.views.order import Indices


@dataclass(frozen=True)
class View:
    """Some pictures of one view.

    Attributes:
        pixels: (B, S, S, 3) uint8.
        target: (B,) int64, the class; of a mixed picture that of the larger part.
        other, share: (B,) int64 and float32, where pictures are mixed: the second class and the part
            (0 to 0.5) of the picture that is of it.
    """

    pixels: Tensor
    target: Indices
    other: Indices
    share: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Augment:
    """The views of a split.

    Random-resized crop (Szegedy et al. 2015), flip, RandAugment (Cubuk et al. 2020, arXiv:1909.13719),
    then mixup (Zhang et al. 2018, arXiv:1710.09412) or cutmix (Yun et al. 2019, arXiv:1905.04899);
    with both, each picture gets one of them by chance. The partner of a mixed picture is drawn from
    the whole split, and is itself cropped, flipped and coloured as in its own view.

    Attributes:
        seed: of everything drawn.
        crop: the smallest share of the area that a crop keeps; 1: none.
        flip: whether every second picture is mirrored.
        randaugment, magnitude: operations a picture, and their strength from 0 to 30.
        mixup, cutmix: α of their Beta(α, α); 0: none.
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

    @property
    def mixes(self) -> bool:
        """Whether two pictures become one, with two labels."""
        return self.mixup > 0 or self.cutmix > 0

    def view(self, indices: Indices, number: int) -> View:
        """View `number` (from 0) of the pictures `indices`."""
        labels = self.split.labels[indices]
        pixels = self._augmented(indices, number)
        if not self.mixes:
            return View(pixels, labels, labels, np.zeros(len(labels), np.float32))
        partners = self._partners(indices, number)
        others = self._augmented(partners, number)
        mixed = [
            self._mixed(one, other, int(index), number)
            for one, other, index in zip(pixels, others, indices, strict=True)
        ]
        share = np.array([part for _, part in mixed], np.float32)
        first, second = labels, self.split.labels[partners]
        major = share <= 0.5
        return View(
            torch.stack([picture for picture, _ in mixed]),
            np.where(major, first, second),
            np.where(major, second, first),
            np.where(major, share, 1 - share).astype(np.float32),
        )

    def photographs(self, indices: Indices, number: int) -> Indices:
        """Those that a view of `indices` is made of."""
        partners = [self._partners(indices, number)] if self.mixes else []
        return np.concatenate([indices, *partners])

    def _partners(self, indices: Indices, number: int) -> Indices:
        return np.random.default_rng((self.seed, number)).permutation(len(self.split.labels))[indices]

    def _augmented(self, indices: Indices, number: int) -> Tensor:
        pictures = []
        with torch.random.fork_rng(devices=[]):
            for index, pixels in zip(indices, self.split.images[indices], strict=True):
                torch.manual_seed(_key(self.seed, number, int(index)))
                picture = torch.from_numpy(pixels).permute(2, 0, 1)
                pictures.append(self._transform(picture).permute(1, 2, 0))
        return torch.stack(pictures)

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

    def _mixed(self, one: Tensor, other: Tensor, index: int, number: int) -> tuple[Tensor, float]:
        """The mixed picture, and which part of it is of `other`."""
        generator = np.random.default_rng((self.seed, number, index, 1))
        if self.cutmix > 0 and (self.mixup == 0 or generator.random() < 0.5):
            return _cut(one, other, 1 - generator.beta(self.cutmix, self.cutmix), generator)
        part = 1 - generator.beta(self.mixup, self.mixup)
        return (one * (1 - part) + other * part).round().to(torch.uint8), part


def _cut(one: Tensor, other: Tensor, area: float, generator: np.random.Generator) -> tuple[Tensor, float]:
    """A box of `other` of about `area` of the picture, its centre anywhere, cut at the border."""
    size = one.shape[0]
    half = size * np.sqrt(area) / 2
    row, column = generator.uniform(0, size, 2)
    top, bottom = (int(np.clip(round(row + side), 0, size)) for side in (-half, half))
    left, right = (int(np.clip(round(column + side), 0, size)) for side in (-half, half))
    cut = one.clone()
    cut[top:bottom, left:right] = other[top:bottom, left:right]
    return cut, (bottom - top) * (right - left) / size**2


def _key(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0])


def target_distribution(view: View, classes: int) -> Tensor:
    """(B, K) float32: 1 − share on `target`, share on `other`."""
    rows = np.arange(len(view.target))
    distribution = np.zeros((len(rows), classes), np.float32)
    np.add.at(distribution, (rows, view.target), 1 - view.share)
    np.add.at(distribution, (rows, view.other), view.share)
    return torch.from_numpy(distribution)
