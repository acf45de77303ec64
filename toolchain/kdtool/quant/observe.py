"""Observation of the FP32 model's activations: a min–max range and a histogram of each, and nothing else.

The first pass over the images observes the min–max range of every activation. The second pass, if a
calibration method needs it, counts the values in a histogram between the two ends. One image at a time goes
through the model, so that neither the memory nor the last bit of the result depends on a batch size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx

from kdtool.calibration.histogram import Histogram, MinMax, Range
from kdtool.calibration.ranges import METHODS
from kdtool.core.errors import GateError, ModelFileError
from kdtool.core.preprocess import FloatArray
from kdtool.core.screen import Bar
from kdtool.core.text import cause_of
from kdtool.graph.onnxread import infer_shapes, parse_model
from kdtool.machine.threads import usable_threads
from kdtool.quant.images import CalibrationImages
from kdtool.recipe.choices import Calibration
from kdtool.runtime.onnxbytes.guard import read_model
from kdtool.runtime.onnxruntime import new_session, session_options

Histograms = Mapping[str, Histogram]


def observe(source: Path, images: CalibrationImages, count: bool, bar: Bar) -> Histograms:
    """Return tensor → histogram for every float activation of the ONNX file `source`.

    Args:
        count: False leaves the counts at 0, so that only the min–max range is known.

    Raises:
        ModelFileError: the file is broken or hostile, or it does not run.
        GateError: an activation is NaN, infinite, or spans more than float32 holds.
    """
    model = parse_model(read_model(source), source)
    names = activations(model, source)
    session = _open(source, model, names)
    observers = {name: MinMax() for name in names}
    for name, values in _values(source, session, names, images, bar):
        try:
            observers[name].add(values)
        except ValueError as error:
            raise GateError(
                f"{source}: {name} contains {error} on training images.",
                "Train again with a smaller learning rate; such a model cannot be quantized.",
            ) from error
    histograms = {name: Histogram.empty(observer) for name, observer in observers.items()}
    if count:
        for name, values in _values(source, session, names, images, bar):
            histograms[name].add(values)
    return histograms


def ranges_of(histograms: Histograms, method: Calibration) -> dict[str, Range]:
    """Return tensor → range by one of `METHODS`."""
    choose = METHODS[method]
    return {name: choose(histogram) for name, histogram in histograms.items()}


def activations(model: onnx.ModelProto, name: Path | str = "the model") -> list[str]:
    """List the input and all float tensors that depend on it, in the order of the graph.

    Raises:
        ModelFileError: the graph of the file `name` is broken.
    """
    graph = infer_shapes(model, name)
    types = {
        value.name: value.type.tensor_type.elem_type
        for value in (*graph.input, *graph.value_info, *graph.output)
    }
    constants = {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        if all(name in constants for name in node.input if name):
            constants.update(node.output)
    tensors = [value.name for value in graph.input] + [name for node in graph.node for name in node.output]
    return [name for name in tensors if types.get(name) == onnx.TensorProto.FLOAT and name not in constants]


def _open(source: Path, model: onnx.ModelProto, names: Sequence[str]) -> Any:
    """Open a session whose outputs are the activations `names`."""
    graph = model.graph
    existing = {value.name for value in (*graph.input, *graph.output)}
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in existing)
    try:
        content = model.SerializeToString()
        return new_session(content, session_options(usable_threads()))
    except Exception as error:  # onnxruntime's exceptions share no base class
        raise _failed(source, error) from error


def _values(
    source: Path, session: Any, names: Sequence[str], images: CalibrationImages, bar: Bar
) -> Iterator[tuple[str, FloatArray]]:
    """Yield (tensor, its values) for one image after the other."""
    input_name = session.get_inputs()[0].name
    inner = [name for name in names if name != input_name]
    for image in images:
        try:
            activations = session.run(inner, {input_name: image})
        except Exception as error:  # onnxruntime's exceptions share no base class
            raise _failed(source, error) from error
        if input_name in names:
            yield input_name, image
        yield from zip(inner, activations, strict=True)
        bar.advance()


def _failed(source: Path, error: Exception) -> ModelFileError:
    return ModelFileError(
        f"{source}: cannot be calibrated, because it does not run ({cause_of(error)}).",
        "Export it again with: kdtool export --onnx",
    )
