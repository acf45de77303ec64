"""Streaming statistics: however the values are divided, the same ends and the same counts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kdtool.calibration.histogram import BINS, TINY, Histogram, MinMax

values_of = hnp.arrays(
    np.float32, st.integers(1, 200), elements=st.floats(-1e6, 1e6, width=32, allow_subnormal=False)
)
cuts_of = st.lists(st.integers(0, 200), max_size=8)


def histogram_of(chunks: list[np.ndarray]) -> Histogram:
    observer = MinMax()
    for chunk in chunks:
        observer.add(chunk)
    histogram = Histogram.empty(observer)
    for chunk in chunks:
        histogram.add(chunk)
    return histogram


@settings(deadline=None, max_examples=50)
@given(values=values_of, cuts=cuts_of, seed=st.integers(0, 99))
def test_chunks_and_their_order_make_no_difference(values: np.ndarray, cuts: list[int], seed: int) -> None:
    whole = histogram_of([values])
    chunks = np.split(values, sorted(min(cut, len(values)) for cut in cuts))
    np.random.default_rng(seed).shuffle(chunks)
    parts = histogram_of(chunks)

    assert (parts.low, parts.high) == (whole.low, whole.high)
    np.testing.assert_array_equal(parts.counts, whole.counts)


@settings(deadline=None, max_examples=50)
@given(values=values_of)
def test_every_value_is_counted_near_where_it_lies(values: np.ndarray) -> None:
    histogram = histogram_of([values])

    assert histogram.counts.sum() == len(values)
    assert (histogram.low, histogram.high) == (min(0, values.min()), max(0, values.max()))
    mean = float(histogram.centres @ histogram.counts) / len(values)
    # A histogram whose bins would be narrower than `TINY` has one.
    tolerance = max(histogram.width, BINS * TINY) + 1e-5 * float(np.abs(values).max())
    assert mean == pytest.approx(float(values.astype(np.float64).mean()), abs=tolerance)


@settings(deadline=None, max_examples=50)
@given(values=values_of)
def test_every_zero_falls_into_the_bin_of_zero(values: np.ndarray) -> None:
    before, after = histogram_of([values]), histogram_of([values, np.zeros(7, np.float32)])
    (changed,) = np.flatnonzero(after.counts - before.counts)
    assert changed == after.zero


def test_memory_is_a_matter_of_bins() -> None:
    histogram = histogram_of([np.random.default_rng(0).normal(size=100_000).astype(np.float32)])
    assert histogram.counts.nbytes == 8 * BINS


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_an_error(bad: float) -> None:
    with pytest.raises(ValueError, match="NaN or infinity"):
        MinMax().add(np.array([1.0, bad, 2.0], np.float32))


def test_ends_that_float32_cannot_hold_apart_are_an_error() -> None:
    observer = MinMax()
    observer.add(np.array([-3e38], np.float32))
    with pytest.raises(ValueError, match=r"values from -3e\+38 to 3e\+38 \(too far apart for float32\)"):
        observer.add(np.array([3e38], np.float32))
    assert histogram_of([np.array([2e38, 3e38], np.float32)]).counts.sum() == 2
