"""Parity gate: torch and ONNX Runtime must give the same logits on real images, for several batch sizes.

Exports that look correct have contained wrong networks, so no file ships without passing this gate.
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
from kdtool.core.spelling import assigned
from kdtool.data.pixels.photographs import Images

BATCHES = (1, 2, 7)
ROUNDING = 1e-6  # relative; a few units in the last place of float32
LARGE = 100.0  # for logits up to this size the tolerance is absolute


@dataclass(frozen=True)
class Parity:
    """Parity of one batch: its size and the largest |Δlogit|."""

    batch: int
    difference: float


def parity_images(pixels: Images, preprocess: Preprocess) -> FloatArray:
    """Choose images for all batches, evenly spread over `pixels` (N, S, S, 3), and normalize them."""
    chosen = np.linspace(0, len(pixels) - 1, sum(BATCHES)).round().astype(np.int64)
    return preprocess.normalize(np.stack([pixels[index] for index in chosen]))


def check_parity(
    network: nn.Module,
    run: Callable[[FloatArray], FloatArray],
    images: FloatArray,
    tolerance: float,
    name: Path,
) -> tuple[Parity, ...]:
    """Compare torch with a runtime on batches of the sizes `BATCHES`, each with different images.

    A batch passes if max |Δlogit| ≤ tolerance · max(1, max |logit| / 100) and every image has the same top-1.
    For logits up to 100, as of any trained classifier, the tolerance is therefore absolute. For larger logits
    float32 is not precise enough: at 100, 1e-4 is 13 units in the last place. An untrained MobileNetV4 gives
    logits up to 355 at 224 pixels, where torch in float32 differs by 2.3e-4 from torch in float64. One
    exception: if the two largest logits of torch are equal within the rounding of float32 (`ROUNDING`,
    relative to the larger), either of them counts as the top-1.

    Args:
        network: in eval mode.
        run: gives the logits (N, K) of normalized images by the runtime.
        images: (≥ sum(BATCHES), 3, S, S), normalized.
        name: the file that will be written, for messages.

    Raises:
        GateError: torch and the runtime differ; it names the file, the batch and the difference.
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


def _compare(expected: FloatArray, exported: FloatArray, batch: int, tolerance: float, name: Path) -> Parity:
    opset = assigned({"export.opset": ...})
    hint = f"Try another operator set, {opset}, or another network; do not ship this one."
    if expected.shape != exported.shape:
        raise GateError(
            f"{name}: for a batch of {batch}, torch gives {expected.shape}, ONNX Runtime {exported.shape}.",
            hint,
        )
    difference = float(np.abs(expected.astype(np.float64) - exported).max())
    limit = tolerance * max(1.0, float(np.abs(expected).max()) / LARGE)
    if not (math.isfinite(difference) and difference <= limit):
        raise GateError(
            f"{name}: for a batch of {batch}, max |Δlogit| between torch and ONNX Runtime is "
            f"{difference:.3g}, allowed is {limit:.3g}.",
            f"{hint} The limit is {assigned({'export.tolerance': ...})}",
        )
    different = _different_top1(expected, exported)
    if different:
        raise GateError(
            f"{name}: for a batch of {batch}, torch and ONNX Runtime predict different classes for "
            f"{different} image(s), with max |Δlogit| {difference:.3g}.",
            hint,
        )
    return Parity(batch, difference)


def _different_top1(expected: FloatArray, exported: FloatArray) -> int:
    """Number of images whose top-1 differs, except for ties."""
    best = expected.max(axis=1)
    chosen = np.take_along_axis(expected, exported.argmax(axis=1)[:, None], axis=1)[:, 0]
    return int((best - chosen > ROUNDING * np.maximum(1.0, np.abs(best))).sum())


def worst(parities: Sequence[Parity]) -> float:
    """The largest |Δlogit| of all batches."""
    return max(parity.difference for parity in parities)
