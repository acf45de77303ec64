"""Classification of images with a session: pixels → logits → probabilities → names of classes.

    p_k = exp(z_k − max z) / Σ_j exp(z_j − max z)

All parts of kdtool classify with these functions, so that all require the same of a model file: one finite
logit for each class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from kdtool.core.errors import GateError, ModelFileError
from kdtool.core.preprocess import FloatArray, Preprocess, UInt8Array
from kdtool.core.screen import QUIET, Screen
from kdtool.results.predictions import Predicted
from kdtool.results.statistics.estimate import BoolArray
from kdtool.runtime.session import Session, input_size

BATCH = 32

Probabilities = npt.NDArray[np.float64]


class Images(Protocol):
    """Images (N, S, S, 3) uint8, resized and cropped: an array, or an object that decodes slices."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> UInt8Array: ...


@dataclass(frozen=True)
class Classified:
    """Predictions of a model for N images.

    Attributes:
        predicted: (N,) index of the largest logit; the first index if several are equal.
        probability: (N,) softmax at that index.
    """

    predicted: npt.NDArray[np.int64]
    probability: Probabilities

    @classmethod
    def of(cls, logits: FloatArray) -> Classified:
        """Predictions from logits (N, K)."""
        return cls(logits.argmax(axis=1).astype(np.int64), softmax(logits).max(axis=1))

    def correct(self, labels: npt.NDArray[np.int64]) -> BoolArray:
        """Array (N,) that is True where the prediction equals the label."""
        correct: BoolArray = self.predicted == labels
        return correct

    def named(self, classes: Sequence[str]) -> Predicted:
        """Predictions with the names of the classes."""
        return Predicted(tuple(classes[index] for index in self.predicted), tuple(self.probability.tolist()))


def logits_of(
    session: Session,
    images: Images,
    preprocess: Preprocess,
    classes: int | None = None,
    *,
    names: Sequence[str] = (),
    require_finite: bool = True,
    screen: Screen = QUIET,
    title: str = "classify",
) -> FloatArray:
    """Logits (N, K) of images (N, S, S, 3) uint8, which are resized and cropped already.

    Args:
        classes: K; None allows any number.
        names: names of the images, for messages.
        require_finite: if True, NaN and infinity are an error. Only a search through variants of a model
            passes False.

    Raises:
        ModelFileError: the model fails, needs another image size, or gives another number of logits.
        GateError: a logit is NaN or infinite.
    """
    size = input_size(session)
    if size and size != images.shape[1]:
        raise ModelFileError(
            f"{session.path}: its input has a side of {size} pixels, the images have {images.shape[1]}.",
            "Export it again from the run that these images belong to: kdtool export --onnx",
        )
    batches = []
    with screen.bar(title, len(images)) as bar:
        for start in range(0, len(images), BATCH):
            pixels = np.asarray(images[start : start + BATCH])
            logits = session.run(session.input_format.tensor(pixels, preprocess))
            if classes not in (None, logits.shape[1]):
                raise ModelFileError(
                    f"{session.path}: gives {logits.shape[1]} logits for {classes} classes.",
                    "Name the data that it was trained for, or export it again with: kdtool export --onnx",
                )
            finite = np.isfinite(logits).all(axis=1)
            if require_finite and not finite.all():
                row = start + int(finite.argmin())
                image = names[row] if names else f"image {row + 1} of {len(images)}"
                raise GateError(
                    f"{session.path}: gives NaN or infinity for {image}.",
                    "Do not use it. Train it again with a smaller learning rate, or, if only the INT8 file "
                    "fails: kdtool quantize",
                )
            batches.append(logits)
            bar.advance(len(pixels))
    return np.concatenate(batches) if batches else np.empty((0, classes or 0), np.float32)


def softmax(logits: npt.NDArray[Any]) -> Probabilities:
    """Convert logits (…, K) to probabilities (…, K), with the equation in the docstring of this module."""
    wide = logits.astype(np.float64)
    exponentials: Probabilities = np.exp(wide - wide.max(axis=-1, keepdims=True))
    probabilities: Probabilities = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return probabilities


def ranked(probabilities: Probabilities, classes: Sequence[str], top: int) -> list[tuple[str, float]]:
    """The `top` most likely classes of one image with their probabilities, the most likely first.

    Args:
        probabilities: (K,). Classes of equal probability keep the order of `classes`.
    """
    best = np.argsort(-probabilities, kind="stable")[:top]
    return [(classes[index], float(probabilities[index])) for index in best]
