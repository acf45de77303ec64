"""A model's answers to the test images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kdtool.core.errors import GateError, ModelFileError
from kdtool.core.preprocess import FloatArray, Preprocess
from kdtool.core.screen import Screen
from kdtool.data.photographs import Images
from kdtool.results.statistics import BoolArray
from kdtool.runtime.ports import Tensor
from kdtool.runtime.session import Session, input_size

BATCH = 32


@dataclass(frozen=True)
class Answered:
    """One model's answers, as indices of classes.

    Attributes:
    predicted: (N,) index of the largest logit.
    probability: (N,) softmax at that index.
    """

    predicted: npt.NDArray[np.int64]
    probability: npt.NDArray[np.float64]

    def correct(self, labels: npt.NDArray[np.int64]) -> BoolArray:
        """(N,) whether each answer is the label."""
        right: BoolArray = self.predicted == labels
        return right


def answer(
    session: Session, images: Images, preprocess: Preprocess, classes: int, screen: Screen, title: str
) -> Answered:
    """Run a model over images (N, S, S, 3) uint8 that are resized and cropped already.

    Raises:
        ModelFileError: it wants another size, or answers with another number of classes.
        GateError: a logit is NaN or infinite.
    """
    size = input_size(session)
    if size and size != images.shape[1]:
        raise ModelFileError(
            f"{session.path}: its input has a side of {size} pixels, the images of {images.shape[1]}.",
            "Export it again from the run that these images belong to: kdtool export --onnx",
        )
    batches = []
    with screen.bar(title, len(images)) as bar:
        for start in range(0, len(images), BATCH):
            pixels = np.asarray(images[start : start + BATCH])
            batches.append(_logits(session, session.form.tensor(pixels, preprocess), classes))
            bar.advance(len(pixels))
    return _answers(np.concatenate(batches) if batches else np.empty((0, classes), np.float32))


def _logits(session: Session, images: Tensor, classes: int) -> FloatArray:
    logits = session.run(images)
    if logits.shape[1] != classes:
        raise ModelFileError(
            f"{session.path}: answers with {logits.shape[1]} logits, the data has {classes} classes.",
            "Measure it on the data it was trained for.",
        )
    if not np.isfinite(logits).all():
        raise GateError(
            f"{session.path}: answers NaN or infinity to a test image.",
            "Do not ship it; train again with a smaller learning rate, or quantize again.",
        )
    return logits


def _answers(logits: FloatArray) -> Answered:
    wide = logits.astype(np.float64)
    shares = np.exp(wide - wide.max(axis=1, keepdims=True, initial=-np.inf))
    shares /= shares.sum(axis=1, keepdims=True)
    return Answered(logits.argmax(axis=1).astype(np.int64), shares.max(axis=1, initial=0.0))
