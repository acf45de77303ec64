"""Top-1 accuracy of an ONNX file, by the session that ships."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kdtool.core.preprocess import Preprocess
from kdtool.data.reader import Split
from kdtool.runtime.classify import logits_of
from kdtool.runtime.session import Session


@dataclass(frozen=True)
class Accuracy:
    """`correct` of `images`; percentages are points."""

    correct: int
    images: int

    @property
    def points(self) -> float:
        return 100 * self.correct / self.images

    def __str__(self) -> str:
        return f"{self.points:.2f} %"


def top1(session: Session, split: Split, preprocess: Preprocess) -> Accuracy:
    """How many images of `split` get their own class as the largest logit.

    A search tries INT8 models of which some are broken: an image with a logit that is NaN or infinite is
    counted as wrong.

    Raises:
        ModelFileError: the model fails on the images.
    """
    logits = logits_of(session, split.images, preprocess, require_finite=False)
    finite = np.isfinite(logits).all(axis=1)
    correct = finite & (logits.argmax(axis=1) == split.labels)
    return Accuracy(int(correct.sum()), len(split.labels))
