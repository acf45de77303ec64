"""Further forms of an exported model, each through a parity gate.

A variant is one function here and one line in `VARIANTS`.
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
        images: real ones, normalized, for the gate.
    """

    network: nn.Module
    path: Path
    info: ModelInfo
    images: FloatArray
    tolerance: float


def uint8_variant(given: Exported) -> tuple[list[Path], tuple[Parity, ...]]:
    """`<role>.uint8.onnx`: takes pixels.

    Raises:
        GateError: its logits are not torch's; nothing is left.
    """
    preprocess = given.info.preprocess
    target = given.path.with_suffix(".uint8.onnx")
    info = replace(given.info, notes={**given.info.notes, "input": PIXELS})
    content = onnx_bytes(with_pixels(parse_model(read_model(given.path), given.path), preprocess), info)
    with durable(target) as partial:
        partial.write_bytes(content)
        session = new_session(read_model(partial), session_options(1))
        parity = _gate(given, session, target, lambda images: pixels_of(images, preprocess))
    return [target], parity


def ort_variant(given: Exported) -> tuple[list[Path], tuple[Parity, ...]]:
    """`<role>.ort` and `<role>.required_operators.config`.

    Raises:
        ModelFileError: ONNX Runtime cannot convert it.
        GateError: its logits are not torch's; nothing is left.
    """
    target = given.path.with_suffix(".ort")
    config = given.path.with_suffix(".required_operators.config")
    with durable(target) as partial:
        write_ort(read_model(given.path), partial, target)
        operators = required_operators(partial, target)
        session = open_ort(partial.read_bytes(), target)
        parity = _gate(given, session, target, lambda images: images)
    write_text(config, operators)
    return [target, config], parity


VARIANTS: Mapping[str, Callable[[Exported], tuple[list[Path], tuple[Parity, ...]]]] = {
    "uint8": uint8_variant,
    "ort": ort_variant,
}
SUFFIXES = (".uint8.onnx", ".ort", ".required_operators.config")  # of all that variants write


def _gate(
    given: Exported,
    session: Any,
    target: Path,
    prepare: Callable[[FloatArray], np.ndarray],
) -> tuple[Parity, ...]:
    """Parity of a variant; where its batch is fixed, images go one after the other."""
    single = session.get_inputs()[0].shape[0] == 1

    def run(images: FloatArray) -> FloatArray:
        wanted = prepare(images)
        parts = [wanted[n : n + 1] for n in range(len(wanted))] if single else [wanted]
        return np.concatenate([session.run([OUTPUT], {INPUT: part})[0] for part in parts])

    return check_parity(given.network, run, given.images, given.tolerance, target)
