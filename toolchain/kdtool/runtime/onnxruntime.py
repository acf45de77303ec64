"""ONNX Runtime on the CPU, with the same options wherever kdtool runs a model.

Evaluation, latency and parity must describe the file that ships, so there is one set of options.
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
    """Of the library."""
    return str(ort.__version__)


def session_options(threads: int) -> Any:
    """The one set: `threads` within an operator, operators one after the other."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    # Idle threads of one session would spin on the processors that the next session wants.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.log_severity_level = FATAL_ONLY  # an error is raised as well; once is enough
    return options


def new_session(content: bytes, options: Any, **further: Any) -> Any:
    """ONNX Runtime's own session. Before it fails it tells of falling back, on standard output, where the
    answer of `--json` belongs; so nothing that it prints gets out.

    Args:
        content: judged before.
        further: what else `onnxruntime.InferenceSession` is to know.

    Raises:
        Exception: it cannot load them; onnxruntime's exceptions share no base class.
    """
    with quietly():
        return ort.InferenceSession(content, options, providers=list(PROVIDERS), **further)


def open_model(path: Path, threads: int = 0) -> OnnxSession:
    """Check an ONNX file and load it.

    Args:
        threads: within an operator; 0 is every processor this process may use.

    Raises:
        ModelFileError: not there, hostile or broken, or no image classifier.
    """
    return session_of(read_model(path), path, threads, "Export it again with: kdtool export --onnx")


def session_of(content: bytes, path: Path, threads: int, hint: str) -> OnnxSession:
    """A session of the bytes of `path`, which were judged before.

    Args:
        threads: as of `open_model`.
        hint: what to do where the bytes cannot be loaded.

    Raises:
        ModelFileError: onnxruntime cannot load them, or they are no image classifier.
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
    """A `kdtool.runtime.session.Session`; `input` and `output` are as the file itself declares them."""

    path: Path
    info: ModelInfo | None
    input_shape: Shape
    threads: int
    input_format: InputFormat
    input: TensorSpec
    output: TensorSpec
    _session: Any

    def run(self, images: Tensor) -> FloatArray:
        """Logits (N, K) of N images; a file with its batch fixed at 1 gets one after the other."""
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
                "Check that its preprocessing is that of the model, or export it again with: "
                "kdtool export --onnx",
            ) from error
        return require_logits(self.path, logits, len(images))


def _specs(nodes: Sequence[Any]) -> list[TensorSpec]:
    """A session's inputs or outputs; a free side has a name or −1, a type is spelt `tensor(float)`."""
    return [
        TensorSpec(
            str(node.name),
            TYPES.get(node.type, str(node.type)),
            tuple(side if isinstance(side, int) and side > 0 else None for side in node.shape),
        )
        for node in nodes
    ]
