"""The calibration subset: seeded, balanced, without repetition; and how its images are read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kdtool.core.preprocess import Preprocess
from kdtool.quant.images import RESIDENT, CalibrationImages, calibration_indices

labels_of = st.lists(st.integers(0, 4), min_size=1, max_size=60).map(lambda v: np.array(v, np.int64))


@settings(deadline=None)
@given(labels=labels_of, count=st.integers(1, 80), seed=st.integers(0, 2**32 - 1))
def test_the_subset_is_as_balanced_as_the_classes_allow(labels: np.ndarray, count: int, seed: int) -> None:
    chosen = calibration_indices(labels, count, seed)

    assert len(chosen) == len(set(chosen.tolist())) == min(count, len(labels))
    assert np.array_equal(chosen, np.sort(chosen))
    assert np.array_equal(chosen, calibration_indices(labels, count, seed))
    available, taken = (np.bincount(part, minlength=5) for part in (labels, labels[chosen]))
    unexhausted = taken[taken < available]
    if len(unexhausted):  # a class that could give more gives at most one less than any other
        assert taken.max() - unexhausted.min() <= 1


def test_another_seed_chooses_others() -> None:
    labels = np.repeat(np.arange(3), 50)
    assert not np.array_equal(calibration_indices(labels, 12, 0), calibration_indices(labels, 12, 1))


def test_each_chosen_image_comes_once_a_pass_normalized() -> None:
    pixels = np.arange(12 * 4 * 4 * 3, dtype=np.uint8).reshape(12, 4, 4, 3)
    preprocess = Preprocess(4, 4, mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.2))
    indices = np.array([0, 1, 2, 3, 5, 7, 8, 9, 10, 11])
    images = CalibrationImages(pixels, indices, preprocess)

    for _ in range(2):
        seen = list(images)
        assert {image.shape for image in seen} == {(1, 3, 4, 4)}
        np.testing.assert_array_equal(np.concatenate(seen), preprocess.normalize(pixels[indices]))
    np.testing.assert_array_equal(images.evenly(3), preprocess.normalize(pixels[[0, 5, 11]]))
    assert len(images.evenly(99)) == len(indices)


def test_pages_given_back_are_read_again(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2 * RESIDENT + 1, 4, 4, 3), dtype=np.uint8)
    np.save(tmp_path / "pixels.npy", pixels)
    mapped = np.load(tmp_path / "pixels.npy", mmap_mode="r")
    images = CalibrationImages(mapped, np.arange(len(pixels)), Preprocess(4, 4))

    for _ in range(2):
        np.testing.assert_array_equal(np.concatenate(list(images)), Preprocess(4, 4).normalize(pixels))
