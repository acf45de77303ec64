"""OpenVINO on the CPU, in single precision and tuned for latency, so that it answers the same question as
ONNX Runtime does. Optional: pip install "kdtool[openvino]".
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov

from kdtool.core.errors import ModelFileError
from kdtool.core.modelinfo import ModelInfo
from kdtool.core.preprocess import FloatArray
from kdtool.core.text import cause_of
from kdtool.core.threads import usable_threads
from kdtool.runtime.guard import read_model
from kdtool.runtime.onnxruntime import LOGITS
from kdtool.runtime.signalstack import use_own_stack_for_signals
from kdtool.runtime.stated import stated_by_onnx

DEVICE = "CPU"


def version() -> str:
    """Of the library, without the number of its build."""
    return str(ov.__version__).partition("-")[0]


def options(threads: int) -> dict[str, Any]:
    """One stream of `threads` threads; float stays float, whatever the processor would like better."""
    return {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_PRECISION_HINT": "f32",
    }


def open_model(path: Path, threads: int = 0) -> OpenvinoSession:
    """Check an ONNX file and load it.

    Args:
        threads: 0 is every processor this process may use.

    Raises:
        ModelFileError: not there, hostile or broken, or no image classifier.
    """
    content = read_model(path)
    info = stated_by_onnx(path)
    try:
        model = ov.Core().read_model(model=content)
    except Exception as error:  # openvino raises RuntimeError and its own kinds
        raise _cannot_load(path, error) from error
    return compile_model(model, path, info, threads)


def compile_model(model: Any, path: Path, info: ModelInfo | None, threads: int = 0) -> OpenvinoSession:
    """A session of a model that openvino has read already; `path` and `info` say where it came from.

    Raises:
        ModelFileError: it is no image classifier, or openvino cannot run it.
    """
    threads = threads or usable_threads()
    shape = _only_input(path, model)
    output = _output(path, model)
    try:
        request = ov.Core().compile_model(model, DEVICE, options(threads)).create_infer_request()
    except Exception as error:  # as above
        raise _cannot_load(path, error) from error
    finally:
        use_own_stack_for_signals()
    return OpenvinoSession(path, info, shape, threads, request, output)


@dataclass
class OpenvinoSession:
    """A `kdtool.runtime.session.Session`."""

    path: Path
    info: ModelInfo | None
    input_shape: tuple[int | None, ...]
    threads: int
    _request: Any
    _output: int

    def run(self, images: FloatArray) -> FloatArray:
        """Logits (N, K) of images (N, 3, H, W); a file with its batch fixed at 1 gets one after the other."""
        if self._request is None:
            raise RuntimeError(f"{self.path} was closed")
        if self.input_shape[0] == 1 and len(images) != 1:
            return np.concatenate([self._run(images[n : n + 1]) for n in range(len(images))])
        return self._run(images)

    def close(self) -> None:
        self._request = None
        use_own_stack_for_signals()

    def _run(self, images: FloatArray) -> FloatArray:
        try:
            answered = self._request.infer([np.ascontiguousarray(images)], share_inputs=True)
            logits = np.array(answered[self._output])  # a copy: the request uses its memory again
        except Exception as error:  # as above
            raise ModelFileError(
                f"{self.path}: openvino fails on images of shape {images.shape} ({cause_of(error)}).",
                "Check that its preprocessing is that of the model; try: kdtool bench --runtime onnxruntime",
            ) from error
        finally:
            use_own_stack_for_signals()
        if logits.ndim != 2 or len(logits) != len(images) or logits.dtype != np.float32:
            raise ModelFileError(
                f"{self.path}: answered {logits.dtype} of shape {logits.shape} to {len(images)} image(s); "
                "a classifier answers float32 (N, classes).",
                "Name a model whose output is one row of logits an image.",
            )
        return logits


def _cannot_load(path: Path, error: Exception) -> ModelFileError:
    return ModelFileError(
        f"{path}: openvino {version()} cannot load it ({cause_of(error)}).",
        "Export it again with: kdtool export --onnx, or try: kdtool bench --runtime onnxruntime",
    )


def _only_input(path: Path, model: Any) -> tuple[int | None, ...]:
    inputs = model.inputs
    given = ", ".join(f"{one.get_element_type()} {one.get_partial_shape()}" for one in inputs) or "none"
    hint = "Name an image classifier, such as one made by: kdtool export --onnx"
    one = inputs[0] if len(inputs) == 1 else None
    if one is None or one.get_element_type() != ov.Type.f32 or one.get_partial_shape().rank.get_length() != 4:
        raise ModelFileError(f"{path}: its inputs are {given}; allowed is one of float32 (N, 3, H, W).", hint)
    shape = tuple(side.get_length() if side.is_static else None for side in one.get_partial_shape())
    if shape[1] not in (None, 3) or shape[0] not in (None, 1):
        raise ModelFileError(f"{path}: its input is {given}; allowed is (N, 3, H, W) with N free or 1.", hint)
    return shape


def _output(path: Path, model: Any) -> int:
    names = [set(one.get_names()) for one in model.outputs]
    for index, known in enumerate(names):
        if LOGITS in known or len(names) == 1:
            return index
    listed = ", ".join(sorted(name for known in names for name in known))
    raise ModelFileError(
        f"{path}: its outputs are {listed}; allowed is one, or one called {LOGITS!r}.",
        "Export it with a single output.",
    )
