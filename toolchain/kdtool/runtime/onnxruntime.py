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
from kdtool.runtime.ports import FLOAT, PIXELS, InputForm, Port, Tensor, image_input, logits_output

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
    threads = threads or usable_threads()
    session = load(read_model(path), path, threads, "Export it again with: kdtool export --onnx")
    inputs, outputs = _ports(session.get_inputs()), _ports(session.get_outputs())
    form, shape = image_input(path, inputs)
    info = ModelInfo.from_metadata(dict(session.get_modelmeta().custom_metadata_map), path)
    output = outputs[logits_output(path, outputs, info)]
    return OnnxSession(path, info, shape, threads, form, session, inputs[0].name, output.name)


def load(content: bytes, path: Path, threads: int, hint: str) -> Any:
    """ONNX Runtime's own session of the bytes of `path`, which were judged before.

    Raises:
        ModelFileError: it cannot load them.
    """
    try:
        return new_session(content, session_options(threads))
    except Exception as error:  # onnxruntime's exceptions share no base class
        raise ModelFileError(
            f"{path}: onnxruntime {version()} cannot load it ({cause_of(error)}).", hint
        ) from error


def answer(session: Any, path: Path, names: tuple[str, str], images: Tensor) -> FloatArray:
    """The logits (N, K) of N images' input; `names` of input and output.

    Raises:
        ModelFileError: the model fails on them, or answers something else than float32 (N, K).
    """
    given, wanted = names
    try:
        (logits,) = session.run([wanted], {given: images})
    except Exception as error:  # onnxruntime's exceptions share no base class
        raise ModelFileError(
            f"{path}: fails on images of shape {images.shape} ({cause_of(error)}).",
            "Check that its preprocessing is that of the model, or export it again with: "
            "kdtool export --onnx",
        ) from error
    if logits.ndim != 2 or len(logits) != len(images) or logits.dtype != np.float32:
        raise ModelFileError(
            f"{path}: answered {logits.dtype} of shape {logits.shape} to {len(images)} image(s); "
            "a classifier answers float32 (N, classes).",
            "Name a model whose output is one row of logits an image.",
        )
    result: FloatArray = logits
    return result


@dataclass
class OnnxSession:
    """A `kdtool.runtime.session.Session`."""

    path: Path
    info: ModelInfo | None
    input_shape: tuple[int | None, ...]
    threads: int
    form: InputForm
    _session: Any
    _input: str
    _output: str

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
        return answer(self._session, self.path, (self._input, self._output), images)


def _ports(nodes: Sequence[Any]) -> list[Port]:
    """Of a session's inputs or outputs; a free side has a name or −1, a type is spelt `tensor(float)`."""
    return [
        Port(
            str(node.name),
            TYPES.get(node.type, str(node.type)),
            tuple(side if isinstance(side, int) and side > 0 else None for side in node.shape),
        )
        for node in nodes
    ]
