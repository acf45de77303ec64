"""Which training images the ranges of activations are measured on."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kdtool.core.preprocess import FloatArray, Preprocess, UInt8Array
from kdtool.core.screen import Bar

BATCH = 8  # of calibration; the ranges do not depend on it, the memory does


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
    """What ONNX Runtime's calibration reads: batches of normalized images, decoded as it goes."""

    def __init__(
        self,
        pixels: UInt8Array,
        indices: npt.NDArray[np.int64],
        preprocess: Preprocess,
        input_name: str,
        bar: Bar,
    ) -> None:
        self._pixels = pixels
        self._preprocess = preprocess
        self._input = input_name
        self._bar = bar
        self._batches = iter([indices[start : start + BATCH] for start in range(0, len(indices), BATCH)])

    def get_next(self) -> dict[str, FloatArray] | None:
        """The next batch by input name, None at the end."""
        batch = next(self._batches, None)
        if batch is None:
            return None
        self._bar.advance(len(batch))
        return {self._input: self._preprocess.normalize(np.asarray(self._pixels[batch]))}
