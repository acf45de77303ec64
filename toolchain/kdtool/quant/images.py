"""Calibration images: training images on which the ranges of activations are observed."""

from __future__ import annotations

import mmap
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from kdtool.core.preprocess import FloatArray, Preprocess
from kdtool.data.pixels.photographs import Images, expect
from kdtool.machine.parallel import AHEAD

RESIDENT = 64  # after so many images the memory pages that were read are released


def calibration_indices(labels: npt.NDArray[np.int64], count: int, seed: int) -> npt.NDArray[np.int64]:
    """Choose `count` images (or all, if there are fewer), as evenly from all classes as possible.

    The classes take turns; each gives its images in a seeded random order, until there are enough.

    Args:
        labels: (N,) class of each image.

    Returns:
        Sorted indices into `labels`.
    """
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(labels))
    turn = np.empty(len(labels), dtype=np.int64)  # number of images of the same class that come earlier
    for label in np.unique(labels):
        members = shuffled[labels[shuffled] == label]
        turn[members] = np.arange(len(members))
    order = shuffled[np.argsort(turn[shuffled], kind="stable")]
    return np.sort(order[:count])


class CalibrationImages:
    """Iterable of the chosen images, normalized on demand; it can be iterated more than once."""

    def __init__(self, pixels: Images, indices: npt.NDArray[np.int64], preprocess: Preprocess) -> None:
        self._pixels = pixels
        self._indices = indices
        self._preprocess = preprocess

    def __len__(self) -> int:
        return len(self._indices)

    def __iter__(self) -> Iterator[FloatArray]:
        """Yield each image as (1, 3, S, S)."""
        for count, index in enumerate(self._indices, 1):
            expect(self._pixels, self._indices[count : count + AHEAD])
            yield self._preprocess.normalize(np.asarray(self._pixels[index : index + 1]))
            if count % RESIDENT == 0:
                _release_pages(self._pixels)

    def evenly(self, count: int) -> FloatArray:
        """Return at most `count` images, evenly spread, as one batch (N, 3, S, S)."""
        positions = (
            np.linspace(0, len(self._indices) - 1, min(count, len(self._indices))).round().astype(np.intp)
        )
        return self._preprocess.normalize(np.stack([self._pixels[i] for i in self._indices[positions]]))


def _release_pages(pixels: Images) -> None:
    """Release the pages of a memory map; otherwise they count as memory of this process."""
    backing = getattr(pixels, "base", None)
    if isinstance(backing, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        backing.madvise(mmap.MADV_DONTNEED)
