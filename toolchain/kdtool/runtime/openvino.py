"""OpenVINO on the CPU, in float32 and tuned for latency, so that its figures compare with ONNX Runtime's.

Optional: pip install "kdtool[openvino]".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov

from kdtool.core.errors import ModelFileError
from kdtool.core.modelinfo import ModelInfo
from kdtool.core.preprocess import FloatArray
from kdtool.core.text import cause_of
from kdtool.machine.threads import usable_threads
from kdtool.runtime.onnxbytes.declared import onnx_info
from kdtool.runtime.onnxbytes.guard import read_model
from kdtool.runtime.session import require_logits
from kdtool.runtime.signalstack import restore_signal_stack
from kdtool.runtime.signature import (
    FLOAT,
    LOGITS,
    PIXELS,
    InputFormat,
    Shape,
    Tensor,
    TensorSpec,
    image_input,
    logits_output,
)

DEVICE = "CPU"
TYPES = {"f32": FLOAT, "u8": PIXELS}


def version() -> str:
    """Version of openvino, without the build number."""
    return str(ov.__version__).partition("-")[0]


def options(threads: int) -> dict[str, Any]:
    """Options of a compiled model: one stream of `threads` threads, float32 on every processor."""
    return {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_PRECISION_HINT": "f32",
    }


def open_model(path: Path, threads: int = 0) -> OpenvinoSession:
    """Check an ONNX file and load it.

    Args:
        threads: 0 takes all processors that this process may use.

    Raises:
        ModelFileError: the file is missing, hostile, broken or not an image classifier.
    """
    content = read_model(path)
    info = onnx_info(path)
    try:
        model = ov.Core().read_model(model=content)
    except Exception as error:  # openvino raises RuntimeError and exceptions of its own
        raise _cannot_load(path, error) from error
    return compile_model(model, path, info, threads)


def compile_model(model: Any, path: Path, info: ModelInfo | None, threads: int = 0) -> OpenvinoSession:
    """Make a session of a model that openvino has read from the file `path` with the record `info`.

    Raises:
        ModelFileError: the model is not an image classifier, or openvino cannot run it.
    """
    threads = threads or usable_threads()
    input_format, shape = image_input(path, _specs(model.inputs))
    output = logits_output(path, _specs(model.outputs), info)
    try:
        request = ov.Core().compile_model(model, DEVICE, options(threads)).create_infer_request()
    except Exception as error:  # openvino raises RuntimeError and exceptions of its own
        raise _cannot_load(path, error) from error
    finally:
        restore_signal_stack()
    return OpenvinoSession(path, info, shape, threads, input_format, request, output)


@dataclass
class OpenvinoSession:
    """Session of OpenVINO; implements the protocol `kdtool.runtime.session.Session`."""

    path: Path
    info: ModelInfo | None
    input_shape: Shape
    threads: int
    input_format: InputFormat
    _request: Any
    _output: int

    def run(self, images: Tensor) -> FloatArray:
        """Logits (N, K) of N images; a file with a fixed batch of 1 gets one image after the other."""
        if self._request is None:
            raise RuntimeError(f"{self.path} was closed")
        if self.input_shape[0] == 1 and len(images) != 1:
            return np.concatenate([self._run(images[n : n + 1]) for n in range(len(images))])
        return self._run(images)

    def close(self) -> None:
        self._request = None
        restore_signal_stack()

    def _run(self, images: Tensor) -> FloatArray:
        try:
            outputs = self._request.infer([np.ascontiguousarray(images)], share_inputs=True)
            logits = np.array(outputs[self._output])  # a copy, since the request reuses its memory
        except Exception as error:  # openvino raises RuntimeError and exceptions of its own
            raise ModelFileError(
                f"{self.path}: openvino fails on images of shape {images.shape} ({cause_of(error)}).",
                "Check that the images have the size and preprocessing of the model, or try: "
                "kdtool bench --runtime onnxruntime",
            ) from error
        finally:
            restore_signal_stack()
        return require_logits(self.path, logits, len(images))


def _cannot_load(path: Path, error: Exception) -> ModelFileError:
    return ModelFileError(
        f"{path}: openvino {version()} cannot load it ({cause_of(error)}).",
        "Export it again with: kdtool export --onnx, or try: kdtool bench --runtime onnxruntime",
    )


def _specs(nodes: Sequence[Any]) -> list[TensorSpec]:
    """Inputs or outputs of a model, each of which may have several names, or none."""
    specs = []
    for node in nodes:
        names, shape = set(node.get_names()), node.get_partial_shape()
        kind = node.get_element_type()
        sides = () if shape.rank.is_dynamic else tuple(s.get_length() if s.is_static else None for s in shape)
        name = LOGITS if LOGITS in names else min(names, default="?")
        specs.append(TensorSpec(name, TYPES.get(kind.get_type_name(), kind.get_type_name()), sides))
    return specs
