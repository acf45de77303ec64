"""Random numbers without state: they are a pure function of (seed, epoch, step).

A resumed training only needs its step, and several processes see the same order.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

Indices = npt.NDArray[np.int64]


def batches(samples: int, batch_size: int, seed: int, epoch: int) -> list[Indices]:
    """Shuffle the indices of one epoch and split them into batches of equal size (± 1), up to `batch_size`.

    Equal batches give each sample the same weight in the mean gradient. A last batch of one image, for which
    batch normalization is undefined, cannot occur; batches are then one image larger than `batch_size`.
    """
    order = np.random.default_rng((seed, epoch)).permutation(samples)
    number = max(1, min(-(-samples // batch_size), samples // 2))
    return [part.astype(np.int64) for part in np.array_split(order, number)]


def reseed(seed: int, epoch: int, step: int, rank: int = 0) -> None:
    """Seed torch's generator for the random numbers of the network in this step (dropout, stochastic depth).

    Processes that share a batch draw different numbers, as the images of one batch do in one process.
    """
    key = (seed, epoch, step, rank) if rank else (seed, epoch, step)
    state = np.random.SeedSequence(key).generate_state(1, np.uint64)
    torch.manual_seed(int(state[0]))
