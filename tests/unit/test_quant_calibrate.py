"""The calibration subset: seeded, balanced, without repetition; and the reader that feeds it."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kdtool.core.preprocess import Preprocess
from kdtool.core.screen import QUIET
from kdtool.quant.calibrate import BATCH, CalibrationImages, calibration_indices

labels_of = st.lists(st.integers(0, 4), min_size=1, max_size=60).map(lambda v: np.array(v, np.int64))


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


def test_the_reader_gives_each_chosen_image_once_normalized() -> None:
    pixels = np.arange(12 * 4 * 4 * 3, dtype=np.uint8).reshape(12, 4, 4, 3)
    preprocess = Preprocess(4, 4, mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.2))
    indices = np.array([0, 1, 2, 3, 5, 7, 8, 9, 10, 11])
    with QUIET.bar("calibration", len(indices)) as bar:
        reader = CalibrationImages(pixels, indices, preprocess, "images", bar)
        batches = []
        while (batch := reader.get_next()) is not None:
            batches.append(batch["images"])

    assert [len(batch) for batch in batches] == [BATCH, 2]
    np.testing.assert_array_equal(np.concatenate(batches), preprocess.normalize(pixels[indices]))
    assert reader.get_next() is None
