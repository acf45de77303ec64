"""Top-1 of a session."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kdtool.core.modelinfo import ModelInfo
from kdtool.core.preprocess import FloatArray, Preprocess
from kdtool.data.reader import Split
from kdtool.quant.accuracy import Accuracy, top1
from kdtool.runtime.signature import InputFormat

PREPROCESS = Preprocess(2, 2)


class Brightest:
    """A session whose logits are the mean of each channel; not a number where red is 255."""

    path = Path("brightest.onnx")
    info: ModelInfo | None = None
    input_shape = (None, 3, 2, 2)
    threads = 1
    input_format = InputFormat()

    def run(self, images: FloatArray) -> FloatArray:
        logits = images.mean(axis=(2, 3))
        logits[logits[:, 0] == 1] = np.nan
        return logits

    def close(self) -> None:
        pass


def split_of(channels: list[int], value: int = 200) -> Split:
    images = np.zeros((len(channels), 2, 2, 3), np.uint8)
    for index, channel in enumerate(channels):
        images[index, :, :, channel] = value
    labels = np.zeros(len(channels), np.int64)
    return Split("validation", images, labels, (), ())


def test_counts_over_several_batches() -> None:
    accuracy = top1(Brightest(), split_of([0] * 50 + [1] * 25 + [2] * 25), PREPROCESS)
    assert accuracy == Accuracy(50, 100)
    assert (accuracy.percent, str(accuracy)) == (50.0, "50.00 %")


class Overflowing(Brightest):
    """As it, but one logit alone is no number: red's is infinite where blue is 255."""

    def run(self, images: FloatArray) -> FloatArray:
        logits = images.mean(axis=(2, 3))
        logits[logits[:, 2] == 1, 0] = np.inf
        return logits


def test_an_image_answered_with_nan_counts_as_wrong() -> None:
    assert top1(Brightest(), split_of([0, 0], value=255), PREPROCESS) == Accuracy(0, 2)
    assert top1(Overflowing(), split_of([0, 2], value=255), PREPROCESS) == Accuracy(1, 2)
