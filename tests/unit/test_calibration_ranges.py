"""From counts to ranges: each method on distributions whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kdtool.calibration.histogram import Histogram, MinMax
from kdtool.calibration.ranges import METHODS, PERCENTILE, Method
from kdtool.recipe.choices import Calibration

NORMAL = np.random.default_rng(0).normal(size=200_000).astype(np.float32)
OUTLIER = np.append(NORMAL, np.float32(1000))
SPARSE = np.random.default_rng(1).random(NORMAL.size)
values_of = hnp.arrays(np.float32, st.integers(1, 300), elements=st.floats(-1000, 1000, width=32))


def histogram_of(values: np.ndarray) -> Histogram:
    observer = MinMax()
    observer.add(values)
    histogram = Histogram.empty(observer)
    histogram.add(values)
    return histogram


def squared_error(values: np.ndarray, low: float, high: float) -> float:
    step = (high - low) / 255
    return float(((values - step * np.round(np.clip(values, low, high) / step)) ** 2).mean())


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
@given(values=values_of)
@settings(max_examples=25, deadline=None)
def test_a_range_lies_between_the_smallest_and_the_largest_value(method: Method, values: np.ndarray) -> None:
    low, high = method(histogram_of(values))
    slack = 1e-6 * float(np.abs(values).max())
    assert min(0.0, values.min()) - slack <= low <= high <= max(0.0, values.max()) + slack


def test_minmax_clips_nothing() -> None:
    assert METHODS[Calibration.MINMAX](histogram_of(OUTLIER)) == (NORMAL.min(), 1000)


def test_percentile_leaves_the_tails_out() -> None:
    values = np.linspace(-1, 3, 1_000_001, dtype=np.float32)
    tail = 4 * (1 - PERCENTILE / 100) / 2
    low, high = METHODS[Calibration.PERCENTILE](histogram_of(values))
    assert (low, high) == pytest.approx((-1 + tail, 3 - tail), abs=0.002)


def test_percentile_leaves_half_of_the_rest_out_on_either_side() -> None:
    histogram = histogram_of(NORMAL)
    tail = (1 - PERCENTILE / 100) / 2
    expected = np.quantile(NORMAL, [tail, 1 - tail])
    assert METHODS["percentile"](histogram) == pytest.approx(expected, abs=3 * histogram.width)


def test_percentile_keeps_zero_where_most_values_are_zero() -> None:
    values = np.concatenate([np.zeros(1_000_000, np.float32), np.full(10, 5, np.float32)])
    low, high = METHODS[Calibration.PERCENTILE](histogram_of(values))
    assert low == 0
    assert high > 0


@pytest.mark.parametrize("method", [Calibration.ENTROPY, Calibration.MSE])
def test_far_values_are_clipped_where_that_resolves_the_others(method: Calibration) -> None:
    values = np.append(np.tile(NORMAL, 5), np.full(10, 40, np.float32))
    low, high = METHODS[method](histogram_of(values))
    assert 4 < high < 39
    assert low < -3.5


def test_mse_is_no_worse_than_any_other() -> None:
    values = np.append(NORMAL, np.float32(30))
    histogram = histogram_of(values)
    errors = {name: squared_error(values, *method(histogram)) for name, method in METHODS.items()}
    assert errors["mse"] < errors["minmax"]
    assert errors["mse"] <= 1.02 * min(errors["entropy"], errors["percentile"])


def test_mse_clips_the_long_side_of_a_one_sided_activation() -> None:
    """SiLU's shape, and far values: shrinking both ends alike would clip −0.28, where a fifth of all lies."""
    values = np.concatenate([np.tile(NORMAL / (1 + np.exp(-NORMAL)), 5), np.full(5, 9.2, np.float32)])
    low, high = METHODS[Calibration.MSE](histogram_of(values))
    assert low == values.min()
    assert high < 9
    assert squared_error(values, low, high) < 0.9 * squared_error(values, float(low), 9.2)


@pytest.mark.parametrize("largest", [1.25, 100 / 81])  # 1 is 0.8 or 0.81 of it, a candidate either way
def test_mse_takes_the_levels_of_the_grid(largest: float) -> None:
    """Nearly all values lie on 256 levels from 0 to 1: the range that has just these levels wins.

    With a few levels more or fewer it would not: 1 ends up between levels, and clipping `largest` is too
    dear.
    """
    values = np.concatenate([np.repeat(np.arange(256) / 255, 1000), np.full(5, largest)]).astype(np.float32)
    assert METHODS[Calibration.MSE](histogram_of(values)) == pytest.approx((0, 1), abs=1e-6)


def test_entropy_keeps_all_of_what_is_evenly_spread() -> None:
    values = np.linspace(0, 6, 500_000, dtype=np.float32)
    assert METHODS[Calibration.ENTROPY](histogram_of(values)) == pytest.approx((0, 6), abs=0.01)


@pytest.mark.parametrize(
    "values",
    [
        np.maximum(NORMAL, 0),
        np.minimum(NORMAL, 0),
        np.where(SPARSE < 0.5, 0, NORMAL),
        np.where(SPARSE < 0.95, 0, NORMAL),
    ],
    ids=["relu", "no positive one", "half zeros within", "most zeros within"],
)
def test_entropy_clips_nothing_for_the_sake_of_zeros(values: np.ndarray) -> None:
    assert (values == 0).mean() > 0.49
    histogram = histogram_of(values)
    chosen = squared_error(values, *METHODS[Calibration.ENTROPY](histogram))
    all_of_it = squared_error(values, *METHODS[Calibration.MINMAX](histogram))
    assert 10 * np.log10(chosen / all_of_it) < 0.5  # dB of signal to noise; 15 to 35 were lost once


@given(values=values_of, zeros=st.integers(1, 100_000))
@settings(max_examples=50, deadline=None)
def test_the_number_of_zeros_means_nothing_to_entropy(values: np.ndarray, zeros: int) -> None:
    histograms = histogram_of(values), histogram_of(np.append(values, np.zeros(zeros, np.float32)))
    first, second = (METHODS[Calibration.ENTROPY](histogram) for histogram in histograms)
    assert first == second


def test_entropy_takes_the_levels_of_the_grid() -> None:
    """Values on 256 levels from 0 on, every second one frequent: all is kept though few are at the end."""
    level = np.arange(256)
    often = np.where(level % 2, 1, 1 + 1e5 * np.exp(-level / 16)).astype(int)
    histogram = histogram_of(np.repeat(level / 255, often).astype(np.float32))
    assert METHODS[Calibration.ENTROPY](histogram) == (0, 1)


@pytest.mark.parametrize("method", METHODS)
def test_a_constant_is_no_trouble(method: Calibration) -> None:
    assert METHODS[method](histogram_of(np.full(9, 2.5, np.float32)))[1] == pytest.approx(2.5)
    assert METHODS[method](histogram_of(np.zeros(9, np.float32))) == (0, 0)
