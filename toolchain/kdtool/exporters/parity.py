"""The gate between torch and ONNX Runtime: the same logits on real images, for several batch sizes.

Wrong networks have come out of correct-looking exports, so nothing ships before this gate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from kdtool.core.errors import GateError
from kdtool.core.preprocess import FloatArray, Preprocess
from kdtool.data.photographs import Images

BATCHES = (1, 2, 7)
ROUNDING = 1e-6  # relative: a few units in the last place of float32
LARGE = 100.0  # up to here the tolerance is absolute


@dataclass(frozen=True)
class Parity:
    """One batch: its size and the largest |Δlogit|."""

    batch: int
    difference: float


def parity_images(pixels: Images, preprocess: Preprocess) -> FloatArray:
    """Images for all batches together, spread evenly over `pixels` (N, S, S, 3), normalized."""
    wanted = sum(BATCHES)
    chosen = np.linspace(0, len(pixels) - 1, wanted).round().astype(np.int64)
    return preprocess.normalize(np.stack([pixels[index] for index in chosen]))


def check_parity(
    network: nn.Module,
    run: Callable[[FloatArray], FloatArray],
    images: FloatArray,
    tolerance: float,
    name: Path,
) -> tuple[Parity, ...]:
    """Compare torch with a runtime on batches of `BATCHES`, each of other images.

    Passed is a batch with max |Δlogit| ≤ tolerance · max(1, max |logit| / 100) and the same top-1 for every
    image. Logits up to 100, which is any trained classifier's, meet the tolerance as it stands. Beyond that
    float32 itself gives out: at 100, 1e-4 is 13 units in the last place. An untrained MobileNetV4 answers
    up to 355 at 224 pixels, and torch is then 2.3e-4 from its own answer in float64. One exception:
    where torch's own two best logits are equal to the rounding of float32 (`ROUNDING`, relative to the
    larger), either of them is the top-1.

    Args:
        network: in eval mode.
        run: logits (N, K) of normalized images, by the runtime that ships.
        images: (≥ sum(BATCHES), 3, S, S), normalized.
        name: the file that is to be written, for the message.

    Raises:
        GateError: names the file, the batch and the difference.
    """
    results = []
    start = 0
    for batch in BATCHES:
        part = images[start : start + batch]
        start += batch
        with torch.inference_mode():
            expected = network(torch.from_numpy(part)).numpy()
        results.append(_compare(expected, run(part), batch, tolerance, name))
    return tuple(results)


def _compare(expected: FloatArray, given: FloatArray, batch: int, tolerance: float, name: Path) -> Parity:
    hint = "Try another operator set than now, --set export.opset=…, or another network; never ship this one."
    if expected.shape != given.shape:
        raise GateError(
            f"{name}: for a batch of {batch}, torch answers {expected.shape} and ONNX Runtime {given.shape}.",
            hint,
        )
    difference = float(np.abs(expected.astype(np.float64) - given).max())
    limit = tolerance * max(1.0, float(np.abs(expected).max()) / LARGE)
    if not (math.isfinite(difference) and difference <= limit):
        raise GateError(
            f"{name}: for a batch of {batch}, max |Δlogit| between torch and ONNX Runtime is "
            f"{difference:.3g}, allowed is {limit:.3g}.",
            hint + " The limit is --set export.tolerance=…",
        )
    differ = _other_top1(expected, given)
    if differ:
        raise GateError(
            f"{name}: for a batch of {batch}, torch and ONNX Runtime answer different classes for {differ} "
            f"image(s), with max |Δlogit| {difference:.3g}.",
            hint,
        )
    return Parity(batch, difference)


def _other_top1(expected: FloatArray, given: FloatArray) -> int:
    """Number of images whose top-1 differs, ties apart."""
    best = expected.max(axis=1)
    chosen = np.take_along_axis(expected, given.argmax(axis=1)[:, None], axis=1)[:, 0]
    return int((best - chosen > ROUNDING * np.maximum(1.0, np.abs(best))).sum())


def worst(parities: Sequence[Parity]) -> float:
    """The largest |Δlogit| of all batches."""
    return max(parity.difference for parity in parities)
