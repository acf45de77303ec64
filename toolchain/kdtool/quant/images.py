"""Which training images the ranges of activations are measured on."""

from __future__ import annotations

import mmap
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from kdtool.core.preprocess import FloatArray, Preprocess
from kdtool.data.photographs import Images, expect
from kdtool.machine.parallel import AHEAD

RESIDENT = 64  # images after which the pages of the file that were read are given back


def calibration_indices(labels: npt.NDArray[np.int64], count: int, seed: int) -> npt.NDArray[np.int64]:
    """`count` images (or all, if there are fewer), as evenly from every class as the classes allow.

    Classes take turns, each giving its images in a seeded random order, until there are enough.

    Args:
        labels: (N,) class of each image.

    Returns:
        sorted indices into `labels`.
    """
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(labels))
    turn = np.empty(len(labels), dtype=np.int64)  # how many of its class go before an image
    for label in np.unique(labels):
        members = shuffled[labels[shuffled] == label]
        turn[members] = np.arange(len(members))
    order = shuffled[np.argsort(turn[shuffled], kind="stable")]
    return np.sort(order[:count])


class CalibrationImages:
    """The chosen images, normalized as they are asked for; may be gone through more than once."""

    def __init__(self, pixels: Images, indices: npt.NDArray[np.int64], preprocess: Preprocess) -> None:
        self._pixels = pixels
        self._indices = indices
        self._preprocess = preprocess

    def __len__(self) -> int:
        return len(self._indices)

    def __iter__(self) -> Iterator[FloatArray]:
        """Each as (1, 3, S, S)."""
        for count, index in enumerate(self._indices, 1):
            expect(self._pixels, self._indices[count : count + AHEAD])
            yield self._preprocess.normalize(np.asarray(self._pixels[index : index + 1]))
            if count % RESIDENT == 0:
                _give_back(self._pixels)

    def first(self, count: int) -> FloatArray:
        """At most `count` of them, evenly spread, as one batch (N, 3, S, S)."""
        wanted = (
            np.linspace(0, len(self._indices) - 1, min(count, len(self._indices))).round().astype(np.intp)
        )
        return self._preprocess.normalize(np.stack([self._pixels[i] for i in self._indices[wanted]]))


def _give_back(pixels: Images) -> None:
    """Pages read from a memory map count as ours until the system wants them: let it have them now."""
    backing = getattr(pixels, "base", None)
    if isinstance(backing, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        backing.madvise(mmap.MADV_DONTNEED)
