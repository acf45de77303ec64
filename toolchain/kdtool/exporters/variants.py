"""Variants of an exported model, each with its own parity gate.

A variant is one function here and one line in `VARIANTS`; its name is that of its switch in `ExportSettings`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from kdtool.core.files import durable, write_text
from kdtool.core.modelinfo import ModelInfo
from kdtool.core.preprocess import FloatArray
from kdtool.exporters.ortformat import open_ort, required_operators, write_ort
from kdtool.exporters.parity import Parity, check_parity
from kdtool.exporters.passes.uint8 import pixels_of, with_pixels
from kdtool.graph.onnxfile import INPUT, OUTPUT, onnx_bytes
from kdtool.graph.onnxread import parse_model
from kdtool.runtime.onnxbytes.guard import read_model
from kdtool.runtime.onnxruntime import new_session, session_options

PIXELS = "uint8 (N, S, S, 3), RGB; normalization and layout are inside"


@dataclass(frozen=True)
class Exported:
    """A network and the float32 ONNX file that passed the gate.

    Attributes:
        images: real images, normalized, for the gate.
    """

    network: nn.Module
    path: Path
    info: ModelInfo
    images: FloatArray
    tolerance: float


def uint8_variant(exported: Exported) -> tuple[list[Path], tuple[Parity, ...]]:
    """Write `<role>.uint8.onnx`, which takes pixels.

    Raises:
        GateError: its logits differ from torch's; nothing is written.
    """
    preprocess = exported.info.preprocess
    target = exported.path.with_suffix(".uint8.onnx")
    info = replace(exported.info, notes={**exported.info.notes, "input": PIXELS})
    content = onnx_bytes(with_pixels(parse_model(read_model(exported.path), exported.path), preprocess), info)
    with durable(target) as partial:
        partial.write_bytes(content)
        session = new_session(read_model(partial), session_options(1))
        parity = _gate(exported, session, target, lambda images: pixels_of(images, preprocess))
    return [target], parity


def ort_variant(exported: Exported) -> tuple[list[Path], tuple[Parity, ...]]:
    """Write `<role>.ort` and `<role>.required_operators.config`.

    Raises:
        ModelFileError: ONNX Runtime cannot convert the model.
        GateError: its logits differ from torch's; nothing is written.
    """
    target = exported.path.with_suffix(".ort")
    config = exported.path.with_suffix(".required_operators.config")
    with durable(target) as partial:
        write_ort(read_model(exported.path), partial, target)
        operators = required_operators(partial, target)
        session = open_ort(partial.read_bytes(), target)
        parity = _gate(exported, session, target, lambda images: images)
    write_text(config, operators)
    return [target, config], parity


@dataclass(frozen=True)
class Variant:
    """One variant.

    Attributes:
        write: function that writes the files, and returns them and their parity.
        suffixes: ends of the names of all these files, after the role.
    """

    write: Callable[[Exported], tuple[list[Path], tuple[Parity, ...]]]
    suffixes: tuple[str, ...]


VARIANTS: Mapping[str, Variant] = {
    "uint8": Variant(uint8_variant, (".uint8.onnx",)),
    "ort": Variant(ort_variant, (".ort", ".required_operators.config")),
}


def _gate(
    exported: Exported,
    session: Any,
    target: Path,
    prepare: Callable[[FloatArray], np.ndarray],
) -> tuple[Parity, ...]:
    """Check the parity of a variant; if its batch size is fixed at 1, images go one after the other."""
    single = session.get_inputs()[0].shape[0] == 1

    def run(images: FloatArray) -> FloatArray:
        inputs = prepare(images)
        parts = [inputs[n : n + 1] for n in range(len(inputs))] if single else [inputs]
        return np.concatenate([session.run([OUTPUT], {INPUT: part})[0] for part in parts])

    return check_parity(exported.network, run, exported.images, exported.tolerance, target)
