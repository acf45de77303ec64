"""From pixels to logits, probabilities and names of classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from kdtool.core.errors import GateError, ModelFileError
from kdtool.core.modelinfo import ModelInfo
from kdtool.core.preprocess import FloatArray, Preprocess
from kdtool.runtime.classify import BATCH, Classified, logits_of, ranked, softmax
from kdtool.runtime.signature import InputFormat, Shape

PREPROCESS = Preprocess(2, 2)


@dataclass
class Channels:
    """A session whose logits are the mean of each channel, and `odd` where red is 255."""

    odd: float = 1.0
    path = Path("channels.onnx")
    info: ModelInfo | None = None
    input_shape: Shape = (None, 3, 2, 2)
    threads = 1
    input_format = InputFormat()

    def run(self, images: FloatArray) -> FloatArray:
        logits = images.mean(axis=(2, 3))
        logits[logits[:, 0] == 1, 0] = self.odd
        return logits

    def close(self) -> None:
        pass


def images(*red: int) -> np.ndarray:
    pixels = np.zeros((len(red), 2, 2, 3), np.uint8)
    pixels[..., 0] = np.array(red, np.uint8)[:, None, None]
    return pixels


def test_logits_are_those_of_all_batches_in_their_order() -> None:
    red = range(2 * BATCH + 3)
    logits = logits_of(Channels(), images(*red), PREPROCESS, 3)
    assert logits[:, 0] == pytest.approx(np.array(red) / 255)
    assert logits_of(Channels(), images(), PREPROCESS, 3).shape == (0, 3)


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_a_logit_that_is_no_finite_number_is_a_gate_error(odd: float) -> None:
    pixels, names = images(*[0] * BATCH, 1, 255), [f"{number}.png" for number in range(BATCH + 2)]
    with pytest.raises(GateError, match=r"channels\.onnx: gives NaN or infinity for 33\.png") as error:
        logits_of(Channels(odd), pixels, PREPROCESS, names=names)
    assert "kdtool quantize" in error.value.hint
    with pytest.raises(GateError, match="for image 34 of 34"):
        logits_of(Channels(odd), pixels, PREPROCESS)
    logits = logits_of(Channels(odd), pixels, PREPROCESS, require_finite=False)
    assert (~np.isfinite(logits)).nonzero()[0].tolist() == [33]


def test_another_number_of_logits_or_another_size_is_a_model_error() -> None:
    with pytest.raises(ModelFileError, match="gives 3 logits for 4 classes"):
        logits_of(Channels(), images(0), PREPROCESS, 4)
    with pytest.raises(ModelFileError, match="a side of 8 pixels, the images have 2"):
        logits_of(Channels(input_shape=(None, 3, 8, 8)), images(0), PREPROCESS)


def test_the_predicted_class_is_that_of_the_largest_logit() -> None:
    classified = Classified.of(np.log(np.array([[1, 3], [9, 1]], np.float32)))
    assert classified.predicted.tolist() == [1, 0]
    assert classified.probability == pytest.approx([0.75, 0.9])
    assert classified.correct(np.array([1, 1])).tolist() == [True, False]
    assert classified.named(("cat", "dog")).predicted == ("dog", "cat")
    assert len(Classified.of(np.empty((0, 2), np.float32)).predicted) == 0


def test_softmax_bears_any_finite_logits() -> None:
    assert softmax(np.array([0.0, np.log(3)], np.float32)) == pytest.approx([0.25, 0.75])
    wide = softmax(np.array([[3e38, -3e38], [-3e38, -3e38]], np.float32))
    assert wide.tolist() == [[1.0, 0.0], [0.5, 0.5]]


def test_the_likeliest_come_first_and_of_equal_ones_the_first() -> None:
    assert ranked(np.array([0.25, 0.25, 0.5]), "abc", 2) == [("c", 0.5), ("a", 0.25)]
    assert len(ranked(np.array([0.5, 0.5]), "ab", 9)) == 2
