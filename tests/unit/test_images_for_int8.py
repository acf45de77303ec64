"""Which of a caller's images calibrate an INT8 model, and which measure its accuracy: never the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kdtool.api.calibration import parts_of
from kdtool.core.errors import UsageError
from kdtool.core.modelinfo import ModelInfo
from kdtool.core.preprocess import Preprocess
from kdtool.core.screen import QUIET

MODEL = Path("student.onnx")
INFO = ModelInfo("student", "tiny", ("cat", "dog"), Preprocess(2, 2))


def images(count: int) -> np.ndarray:
    """Grey images, each of its number."""
    return np.repeat(np.arange(count, dtype=np.uint8), 2 * 2 * 3).reshape(count, 2, 2, 3)


@pytest.mark.parametrize(("count", "calibrating"), [(4, 4), (6, 6), (99, 6)])
def test_at_most_half_of_the_labelled_images_calibrate_and_the_others_measure(
    count: int, calibrating: int
) -> None:
    labels = ["cat", "dog"] * 6
    parts = parts_of(images(12), labels, MODEL, INFO, count, QUIET)
    pixels, chosen, validation = parts.pixels, parts.chosen, parts.validation
    assert validation is not None
    measuring = validation.images[:, 0, 0, 0]
    assert len(chosen) == calibrating
    assert sorted([*pixels[chosen, 0, 0, 0], *measuring]) == list(range(12))
    assert np.bincount(measuring % 2).tolist() == np.bincount(validation.labels).tolist()
    assert (validation.labels == measuring % 2).all()


def test_images_without_labels_all_calibrate_evenly_spread() -> None:
    parts = parts_of(images(9), None, MODEL, INFO, 3, QUIET)
    assert parts.pixels[parts.chosen, 0, 0, 0].tolist() == [0, 4, 8]
    assert parts.validation is None


@pytest.mark.parametrize("labels", [["cat"], ["cat", "cow"], [0, 2]])
def test_labels_are_one_of_the_classes_for_each_image(labels: list[str | int]) -> None:
    with pytest.raises(UsageError, match="allowed: one for each image, of cat, dog"):
        parts_of(images(2), labels, MODEL, INFO, 1, QUIET)
