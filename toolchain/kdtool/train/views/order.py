"""Stateless randomness: everything drawn in training is a pure function of (seed, epoch, step).

A resumed run needs to know the step alone, and a distributed one sees the same order.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

Indices = npt.NDArray[np.int64]


def batches(samples: int, batch_size: int, seed: int, epoch: int) -> list[Indices]:
    """The shuffled indices of one epoch, in batches of equal size (± 1) up to `batch_size`.

    Equal batches weigh every sample the same in the mean gradient; a rest of one image, on which
    batch normalization is undefined, cannot occur (then batches exceed `batch_size` by one).
    """
    order = np.random.default_rng((seed, epoch)).permutation(samples)
    number = max(1, min(-(-samples // batch_size), samples // 2))
    return [part.astype(np.int64) for part in np.array_split(order, number)]


def reseed(seed: int, epoch: int, step: int, rank: int = 0) -> None:
    """Set torch's generator for what a network itself draws in this step (dropout, stochastic depth).

    Processes that share a batch draw differently, as its pictures would in one process.
    """
    key = (seed, epoch, step, rank) if rank else (seed, epoch, step)
    state = np.random.SeedSequence(key).generate_state(1, np.uint64)
    torch.manual_seed(int(state[0]))
