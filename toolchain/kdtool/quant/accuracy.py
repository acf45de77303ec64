"""Top-1 accuracy of an ONNX file, by the session that ships."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kdtool.core.preprocess import Preprocess
from kdtool.data.reader import Split
from kdtool.runtime.session import Session

BATCH = 32


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
    """How many images of `split` get their own class as the largest logit; NaN is never right."""
    correct = 0
    for start in range(0, len(split.labels), BATCH):
        images = preprocess.normalize(np.asarray(split.images[start : start + BATCH]))
        logits = session.run(images)
        sound = np.isfinite(logits).all(axis=1)
        correct += int((sound & (logits.argmax(axis=1) == split.labels[start : start + BATCH])).sum())
    return Accuracy(correct, len(split.labels))
