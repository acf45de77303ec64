"""Random numbers without state: they are a pure function of (seed, epoch, step).

A resumed training only needs its step, and several processes see the same order.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

Indices = npt.NDArray[np.int64]


def batches(
    samples: int, batch_size: int, seed: int, epoch: int, chosen: Indices | None = None
) -> list[Indices]:
    """Shuffle the indices of one epoch and split them into batches of equal size (± 1), up to `batch_size`.

    Args:
        chosen: the indices; None is 0 to `samples` − 1.

    Equal batches give each sample the same weight in the mean gradient. A last batch of one image, for which
    batch normalization is undefined, cannot occur; batches are then one image larger than `batch_size`.
    """
    samples = samples if chosen is None else len(chosen)
    order = np.random.default_rng((seed, epoch)).permutation(samples)
    order = order if chosen is None else chosen[order]
    number = max(1, min(-(-samples // batch_size), samples // 2))
    return [part.astype(np.int64) for part in np.array_split(order, number)]


def balanced(labels: npt.NDArray[np.int64], seed: int, number: int) -> Indices:
    """Choose as many images of every class: q = round(M / K) of each, for M images in K classes.

    Each class is a stream of its images, in a new order each time it was through; epoch `number` takes the
    next q of it. So no image of a class is seen twice before all were seen once. Images without a label
    (−1) are all taken.

    Returns:
        The numbers of the images, by class.
    """
    classes = np.unique(labels[labels >= 0])
    share = max(1, round(int((labels >= 0).sum()) / len(classes)))
    chosen = [np.flatnonzero(labels < 0)]
    for label in classes:
        members = np.flatnonzero(labels == label)
        turn, start = divmod(number * share, len(members))
        turns = range(turn, ((number + 1) * share - 1) // len(members) + 1)
        stream = np.concatenate(
            [np.random.default_rng((seed, int(label), turn, 2)).permutation(members) for turn in turns]
        )
        chosen.append(stream[start : start + share])
    return np.concatenate(chosen).astype(np.int64)


def reseed(seed: int, epoch: int, step: int, rank: int = 0) -> None:
    """Seed torch's generator for the random numbers of the network in this step (dropout, stochastic depth).

    Processes that share a batch draw different numbers, as the images of one batch do in one process.
    """
    key = (seed, epoch, step, rank) if rank else (seed, epoch, step)
    state = np.random.SeedSequence(key).generate_state(1, np.uint64)
    torch.manual_seed(int(state[0]))
