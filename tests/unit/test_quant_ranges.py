"""From counts to ranges: each method on distributions whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kdtool.quant.histogram import Extent, Histogram
from kdtool.quant.ranges import METHODS, PERCENTILE, Method

NORMAL = np.random.default_rng(0).normal(size=200_000).astype(np.float32)
OUTLIER = np.append(NORMAL, np.float32(1000))
values_of = hnp.arrays(np.float32, st.integers(1, 300), elements=st.floats(-1000, 1000, width=32))


def histogram_of(values: np.ndarray) -> Histogram:
    extent = Extent()
    extent.add(values)
    histogram = Histogram.empty(extent)
    histogram.add(values)
    return histogram


def squared_error(values: np.ndarray, low: float, high: float) -> float:
    step = (high - low) / 255
    return float(((values - step * np.round(np.clip(values, low, high) / step)) ** 2).mean())


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
@given(values=values_of)
@settings(max_examples=25, deadline=None)
def test_a_range_lies_within_the_extent(method: Method, symmetric: bool, values: np.ndarray) -> None:
    low, high = method(histogram_of(values), symmetric)
    slack = 1e-6 * float(np.abs(values).max())
    assert min(0.0, values.min()) - slack <= low <= high <= max(0.0, values.max()) + slack


def test_minmax_is_the_extent() -> None:
    assert METHODS["minmax"](histogram_of(OUTLIER), False) == (NORMAL.min(), 1000)


def test_percentile_leaves_the_tails_out() -> None:
    values = np.linspace(-1, 3, 1_000_001, dtype=np.float32)
    tail = 4 * (1 - PERCENTILE / 100) / 2
    low, high = METHODS["percentile"](histogram_of(values), False)
    assert (low, high) == pytest.approx((-1 + tail, 3 - tail), abs=0.002)


def test_percentile_keeps_zero_where_most_values_are_zero() -> None:
    values = np.concatenate([np.zeros(1_000_000, np.float32), np.full(10, 5, np.float32)])
    low, high = METHODS["percentile"](histogram_of(values), False)
    assert low == 0
    assert high > 0


@pytest.mark.parametrize("method", ["entropy", "mse"])
def test_far_values_are_clipped_where_that_resolves_the_others(method: str) -> None:
    values = np.append(np.tile(NORMAL, 5), np.full(10, 40, np.float32))
    low, high = METHODS[method](histogram_of(values), False)
    assert 4 < high < 39
    assert low < -3.5


def test_mse_is_no_worse_than_any_other() -> None:
    values = np.append(NORMAL, np.float32(30))
    histogram = histogram_of(values)
    errors = {name: squared_error(values, *method(histogram, False)) for name, method in METHODS.items()}
    assert errors["mse"] < errors["minmax"]
    assert errors["mse"] <= 1.02 * min(errors["entropy"], errors["percentile"])


def test_a_symmetric_grid_is_searched_as_such() -> None:
    values = np.append(np.abs(NORMAL), np.float32(12))
    one_sided, symmetric = (METHODS["mse"](histogram_of(values), kind) for kind in (False, True))
    assert symmetric[1] <= one_sided[1]


def test_entropy_keeps_all_of_what_is_evenly_spread() -> None:
    values = np.linspace(0, 6, 500_000, dtype=np.float32)
    assert METHODS["entropy"](histogram_of(values), False) == pytest.approx((0, 6), abs=0.01)


@pytest.mark.parametrize("method", METHODS)
def test_a_constant_is_no_trouble(method: str) -> None:
    assert METHODS[method](histogram_of(np.full(9, 2.5, np.float32)), False)[1] == pytest.approx(2.5)
    assert METHODS[method](histogram_of(np.zeros(9, np.float32)), False) == (0, 0)
