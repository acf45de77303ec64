"""ONNX Runtime on the CPU, with the same options wherever kdtool runs a model.

There is one set of options, so that accuracy, latency and parity describe the same computation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from kdtool.core.errors import ModelFileError
from kdtool.core.modelinfo import ModelInfo
from kdtool.core.preprocess import FloatArray
from kdtool.core.quiet import quietly
from kdtool.core.text import cause_of
from kdtool.machine.threads import usable_threads
from kdtool.runtime.onnxbytes.guard import read_model
from kdtool.runtime.session import require_logits
from kdtool.runtime.signature import (
    FLOAT,
    PIXELS,
    InputFormat,
    Shape,
    Tensor,
    TensorSpec,
    image_input,
    logits_output,
)

PROVIDERS = ("CPUExecutionProvider",)
FATAL_ONLY = 4
TYPES = {"tensor(float)": FLOAT, "tensor(uint8)": PIXELS}


def version() -> str:
    """Version of onnxruntime."""
    return str(ort.__version__)


def session_options(threads: int) -> Any:
    """Options of a session: `threads` threads within an operator, operators one after the other."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    # Otherwise idle threads of one session would spin on the processors that the next session needs.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.log_severity_level = FATAL_ONLY  # every error is also raised
    return options


def new_session(content: bytes, options: Any, **further: Any) -> Any:
    """Make an `onnxruntime.InferenceSession` and suppress what it prints.

    Before onnxruntime fails, it prints to standard output, where the result of `--json` belongs.

    Args:
        content: bytes of a model file that the guard has checked.
        further: further arguments of `onnxruntime.InferenceSession`.

    Raises:
        Exception: onnxruntime cannot load the bytes; its exceptions share no base class.
    """
    with quietly():
        return ort.InferenceSession(content, options, providers=list(PROVIDERS), **further)


def open_model(path: Path, threads: int = 0) -> OnnxSession:
    """Check an ONNX file and load it.

    Args:
        threads: threads within an operator; 0 takes all processors that this process may use.

    Raises:
        ModelFileError: the file is missing, hostile, broken or not an image classifier.
    """
    return session_of(read_model(path), path, threads, "Export it again with: kdtool export --onnx")


def session_of(content: bytes, path: Path, threads: int, hint: str) -> OnnxSession:
    """Make a session from the bytes of the file `path`, which the guard has checked.

    Args:
        threads: threads within an operator; 0 takes all processors that this process may use.
        hint: hint of the error if onnxruntime cannot load the bytes.

    Raises:
        ModelFileError: onnxruntime cannot load the bytes, or they are not an image classifier.
    """
    threads = threads or usable_threads()
    try:
        session = new_session(content, session_options(threads))
    except Exception as error:  # onnxruntime's exceptions share no base class
        raise ModelFileError(
            f"{path}: onnxruntime {version()} cannot load it ({cause_of(error)}).", hint
        ) from error
    inputs, outputs = _specs(session.get_inputs()), _specs(session.get_outputs())
    input_format, shape = image_input(path, inputs)
    info = ModelInfo.from_metadata(dict(session.get_modelmeta().custom_metadata_map), path)
    output = outputs[logits_output(path, outputs, info)]
    return OnnxSession(path, info, shape, threads, input_format, inputs[0], output, session)


@dataclass
class OnnxSession:
    """A `kdtool.runtime.session.Session`; `input` and `output` are the declarations in the file."""

    path: Path
    info: ModelInfo | None
    input_shape: Shape
    threads: int
    input_format: InputFormat
    input: TensorSpec
    output: TensorSpec
    _session: Any

    def run(self, images: Tensor) -> FloatArray:
        """Logits (N, K) of N images; a file with a fixed batch of 1 gets one image after the other."""
        if self._session is None:
            raise RuntimeError(f"{self.path} was closed")
        if self.input_shape[0] == 1 and len(images) != 1:
            return np.concatenate([self._run(images[n : n + 1]) for n in range(len(images))])
        return self._run(images)

    def close(self) -> None:
        self._session = None

    def _run(self, images: Tensor) -> FloatArray:
        try:
            (logits,) = self._session.run([self.output.name], {self.input.name: images})
        except Exception as error:  # onnxruntime's exceptions share no base class
            raise ModelFileError(
                f"{self.path}: fails on images of shape {images.shape} ({cause_of(error)}).",
                "Check that the images have the size and preprocessing of the model, or export it again "
                "with: kdtool export --onnx",
            ) from error
        return require_logits(self.path, logits, len(images))


def _specs(nodes: Sequence[Any]) -> list[TensorSpec]:
    """Inputs or outputs of a session; onnxruntime gives a free side a name or −1."""
    return [
        TensorSpec(
            str(node.name),
            TYPES.get(node.type, str(node.type)),
            tuple(side if isinstance(side, int) and side > 0 else None for side in node.shape),
        )
        for node in nodes
    ]
