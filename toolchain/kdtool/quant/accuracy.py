"""Top-1 accuracy of an ONNX file, measured with ONNX Runtime."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from kdtool.core.preprocess import Preprocess
from kdtool.data.reader import Split
from kdtool.results.classes import Tally
from kdtool.results.health import fault_of
from kdtool.runtime.classify import logits_of
from kdtool.runtime.session import Session


@dataclass(frozen=True)
class Accuracy:
    """Number of `correct` predictions among `images` images; a string of it is in percent.

    Attributes:
        fault: what makes the predictions useless (`kdtool.results.health`); None if nothing does.
    """

    correct: int
    images: int
    fault: str | None = field(default=None, compare=False)

    @property
    def percent(self) -> float:
        """100 · correct / images."""
        return 100 * self.correct / self.images

    def drop_to(self, after: Accuracy) -> float:
        """Loss in percentage points, computed from counts of images, so that it can meet a limit exactly."""
        return 100 * (self.correct - after.correct) / self.images

    def __str__(self) -> str:
        return f"{self.percent:.2f} %"


def top1(session: Session, split: Split, preprocess: Preprocess) -> Accuracy:
    """Count the images of `split` whose prediction is their label.

    An image with a NaN or infinite logit counts as wrong, because a search also tries INT8 models that are
    broken.

    Raises:
        ModelFileError: the model fails on the images.
    """
    logits = logits_of(session, split.images, preprocess, require_finite=False)
    finite = np.isfinite(logits).all(axis=1)
    predicted = logits.argmax(axis=1)
    correct = finite & (predicted == split.labels)
    names = session.info.classes if session.info is not None else ()
    fault = fault_of(Tally.of(split.labels, predicted, logits.shape[1]), names)
    return Accuracy(int(correct.sum()), len(split.labels), fault)
