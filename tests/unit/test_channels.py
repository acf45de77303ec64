"""Mean and std over the training set are exact."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdtool.data.channels import _statistics, channel_statistics, channel_sums


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_like_numpy_in_double_precision_whatever_the_order(seed: int, count: int) -> None:
    images = np.random.default_rng(seed).integers(0, 256, (count, 5, 4, 3), dtype=np.uint8)
    mean, std = channel_statistics(map(channel_sums, images))
    np.testing.assert_allclose(mean, (images / 255).mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(std, (images / 255).std(axis=(0, 1, 2)), rtol=1e-12)
    assert channel_statistics(map(channel_sums, images[::-1])) == (mean, std)


def test_a_constant_channel_can_be_divided_by() -> None:
    mean, std = channel_statistics([channel_sums(np.full((4, 4, 3), 51, np.uint8))])
    assert mean == pytest.approx((0.2, 0.2, 0.2))
    assert std == (1.0, 1.0, 1.0)


def test_one_stray_pixel_in_a_thousand_million_is_no_scale() -> None:
    mean, std = _statistics(10**9 + 1, 1, 1)
    assert 0 < mean < 1e-11
    assert std == 1.0
    assert 5e-4 < _statistics(16, 1, 1)[1] < 2e-3
