"""Views: what augmentation makes of a picture, as a pure function of (seed, view, sample).

Nothing depends on batches, order or what was drawn before: whoever asks for a view, the teacher once
or the student in its epoch, gets the same pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from kdtool.core.preprocess import UInt8Array
from kdtool.data.reader import Split
from kdtool.recipe.settings import AugmentSettings
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

    pixels: UInt8Array
    target: Indices
    other: Indices
    share: npt.NDArray[np.float32]


class Augment:
    """The views of a split.

    Random-resized crop (Szegedy et al. 2015), flip, RandAugment (Cubuk et al. 2020, arXiv:1909.13719),
    then mixup (Zhang et al. 2018, arXiv:1710.09412) or cutmix (Yun et al. 2019, arXiv:1905.04899);
    with both, each picture gets one of them by chance. The partner of a mixed picture is drawn from
    the whole split, and is itself cropped, flipped and coloured as in its own view.

    Args:
        seed: of everything drawn.
    """

    def __init__(self, settings: AugmentSettings, split: Split, seed: int) -> None:
        self._settings, self._split, self._seed = settings, split, seed
        self._transform = _transform(settings, split.images.shape[1])

    def view(self, indices: Indices, number: int) -> View:
        """View `number` (from 0) of the pictures `indices`."""
        labels = self._split.labels[indices]
        pixels = self._augmented(indices, number)
        if not self._settings.mixes:
            return View(pixels, labels, labels, np.zeros(len(labels), np.float32))
        partners = self._partners(indices, number)
        others = self._augmented(partners, number)
        mixed = [
            self._mixed(one, other, int(index), number)
            for one, other, index in zip(pixels, others, indices, strict=True)
        ]
        share = np.array([part for _, part in mixed], np.float32)
        first, second = labels, self._split.labels[partners]
        major = share <= 0.5
        return View(
            np.stack([picture for picture, _ in mixed]),
            np.where(major, first, second),
            np.where(major, second, first),
            np.where(major, share, 1 - share).astype(np.float32),
        )

    def photographs(self, indices: Indices, number: int) -> Indices:
        """Those that a view of `indices` is made of."""
        partners = [self._partners(indices, number)] if self._settings.mixes else []
        return np.concatenate([indices, *partners])

    def _partners(self, indices: Indices, number: int) -> Indices:
        return np.random.default_rng((self._seed, number)).permutation(len(self._split.labels))[indices]

    def _augmented(self, indices: Indices, number: int) -> UInt8Array:
        pictures = []
        with torch.random.fork_rng(devices=[]):
            for index, pixels in zip(indices, self._split.images[indices], strict=True):
                torch.manual_seed(_key(self._seed, number, int(index)))
                picture = torch.from_numpy(pixels).permute(2, 0, 1)
                pictures.append(self._transform(picture).permute(1, 2, 0))
        return torch.stack(pictures).numpy()

    def _mixed(self, one: UInt8Array, other: UInt8Array, index: int, number: int) -> tuple[UInt8Array, float]:
        """The mixed picture, and which part of it is of `other`."""
        generator = np.random.default_rng((self._seed, number, index, 1))
        mixup, cutmix = self._settings.mixup, self._settings.cutmix
        if cutmix > 0 and (mixup == 0 or generator.random() < 0.5):
            return _cut(one, other, 1 - generator.beta(cutmix, cutmix), generator)
        part = 1 - generator.beta(mixup, mixup)
        blend = one * np.float32(1 - part) + other * np.float32(part)
        return np.rint(blend).astype(np.uint8), part


def _transform(settings: AugmentSettings, size: int) -> v2.Transform:
    steps: list[v2.Transform] = []
    if settings.crop < 1:
        steps.append(v2.RandomResizedCrop(size, scale=(settings.crop, 1.0), antialias=True))
    if settings.flip:
        steps.append(v2.RandomHorizontalFlip())
    if settings.randaugment:
        steps.append(
            v2.RandAugment(settings.randaugment, settings.magnitude, interpolation=InterpolationMode.BILINEAR)
        )
    return v2.Compose(steps) if steps else v2.Identity()


def _cut(
    one: UInt8Array, other: UInt8Array, area: float, generator: np.random.Generator
) -> tuple[UInt8Array, float]:
    """A box of `other` of about `area` of the picture, its centre anywhere, cut at the border."""
    size = one.shape[0]
    half = size * np.sqrt(area) / 2
    row, column = generator.uniform(0, size, 2)
    top, bottom = (int(np.clip(round(row + side), 0, size)) for side in (-half, half))
    left, right = (int(np.clip(round(column + side), 0, size)) for side in (-half, half))
    cut = one.copy()
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
