from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from kdtool.train.views.order import batches, reseed


@given(st.integers(2, 400), st.integers(2, 70), st.integers(0, 5), st.integers(0, 5))
def test_every_sample_once_in_equal_batches(samples: int, size: int, seed: int, epoch: int) -> None:
    parts = batches(samples, size, seed, epoch)
    assert sorted(np.concatenate(parts).tolist()) == list(range(samples))
    lengths = [len(part) for part in parts]
    assert max(lengths) - min(lengths) <= 1
    assert min(lengths) >= 2, "batch normalization is undefined on one image"
    assert max(lengths) <= max(size, 3)


def test_a_pure_function_of_seed_and_epoch() -> None:
    same = [np.concatenate(batches(50, 8, 1, 2)).tolist() for _ in range(2)]
    assert same[0] == same[1]
    assert same[0] != np.concatenate(batches(50, 8, 1, 3)).tolist()
    assert same[0] != np.concatenate(batches(50, 8, 2, 2)).tolist()


def test_reseed_makes_a_step_repeatable() -> None:
    draws = []
    for step in (7, 7, 8):
        reseed(0, 1, step)
        draws.append(torch.rand(3).tolist())
    assert draws[0] == draws[1] != draws[2]
