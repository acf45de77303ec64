"""Which layers suffer most from 8 bits: each is quantized alone, and its signal-to-noise ratio taken.

    SQNR(l) = 10 · log10( Σ z² / Σ (z − z_l)² )   dB

A layer is what computes products: a convolution, a linear layer, or the product of two activations, which
attention has two of. All are quantized, so each may be kept in FP32.

z are the float model's logits on some calibration images, z_l those with layer l alone in INT8.
Source of the measure: ONNX Runtime, `qdq_loss_debug`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx

from kdtool.core.preprocess import FloatArray
from kdtool.core.screen import Screen
from kdtool.graph.onnxread import parse_model
from kdtool.quant.int8 import PRODUCTS
from kdtool.quant.maker import Choice, Maker
from kdtool.runtime.onnxbytes.guard import read_model
from kdtool.runtime.onnxruntime import open_model

IMAGES = 16
SILENT = 200.0  # dB; more than float32 can tell


@dataclass(frozen=True)
class Layer:
    """A layer by the name of its node; SQNR in dB."""

    name: str
    op: str
    sqnr: float


def layers_of(model: onnx.ModelProto) -> list[tuple[str, str]]:
    """(name, operator) of every layer, in the order of the graph."""
    return [(node.name, node.op_type) for node in model.graph.node if node.op_type in PRODUCTS and node.name]


def rank_layers(maker: Maker, choice: Choice, scratch: Path, screen: Screen) -> list[Layer]:
    """Every layer, the most sensitive first.

    Args:
        scratch: a file to write to, again and again.
    """
    images = maker.images.first(IMAGES)
    expected = _answers(maker.source, images)
    layers = layers_of(parse_model(read_model(maker.source), maker.source))
    ranked = []
    with screen.bar("sensitivity", len(layers)) as bar:
        for name, op in layers:
            maker.write(scratch, replace(choice, fp32_layers=()), only=[name])
            ranked.append(Layer(name, op, sqnr(expected, _answers(scratch, images))))
            bar.advance(note=name)
    return sorted(ranked, key=lambda layer: layer.sqnr)


def sqnr(expected: FloatArray, given: FloatArray) -> float:
    """Of `given` as `expected` with noise, dB; `SILENT` where there is none."""
    wide = expected.astype(np.float64)
    noise = float(((wide - given) ** 2).sum())
    signal = float((wide**2).sum())
    if not np.isfinite(noise) or not signal:
        return -SILENT
    return min(SILENT, 10 * float(np.log10(signal / noise))) if noise else SILENT


def more_and_more_fp32(ranked: list[Layer], most: int, choice: Choice) -> Iterator[tuple[Choice, Layer]]:
    """The choice with the worst layer in FP32, with the two worst, … at most `most`; and the layer added."""
    for count, layer in enumerate(ranked[:most], 1):
        names = tuple(layer.name for layer in ranked[:count])
        yield replace(choice, fp32_layers=(*choice.fp32_layers, *names)), layer


def _answers(path: Path, images: FloatArray) -> FloatArray:
    session = open_model(path)
    try:
        return session.run(images)
    finally:
        session.close()
