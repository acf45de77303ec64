"""Activations of the float model, watched image by image: nothing of an image is kept but its counts.

First pass: the min–max range of every activation. Second pass, where a method wants it: a histogram between
the two ends. One image at a time goes through the model, so that neither the memory nor, in the last bit, the
result depends on any batch.
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
    """Tensor → histogram, of every float activation of the ONNX file `source`.

    Args:
        count: False leaves the counts at 0: only the min–max range is known then.

    Raises:
        ModelFileError: broken or hostile, or it does not run.
        GateError: an activation is NaN, infinite, or spans more than float32 holds.
    """
    model = parse_model(read_model(source), source)
    names = activations(model, source)
    session = _opened(source, model, names)
    observers = {name: MinMax() for name in names}
    for name, values in _seen(source, session, names, images, bar):
        try:
            observers[name].add(values)
        except ValueError as error:
            raise GateError(
                f"{source}: {name} holds {error} on training images.",
                "Train again with a smaller learning rate; such a model cannot be quantized.",
            ) from error
    histograms = {name: Histogram.empty(observer) for name, observer in observers.items()}
    if count:
        for name, values in _seen(source, session, names, images, bar):
            histograms[name].add(values)
    return histograms


def ranges_of(histograms: Histograms, method: Calibration) -> dict[str, Range]:
    """Tensor → range by one of `METHODS`."""
    choose = METHODS[method]
    return {name: choose(histogram) for name, histogram in histograms.items()}


def activations(model: onnx.ModelProto, name: Path | str = "the model") -> list[str]:
    """Float tensors that depend on the input, that itself included, in the order of the graph.

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
    made = [value.name for value in graph.input] + [name for node in graph.node for name in node.output]
    return [name for name in made if types.get(name) == onnx.TensorProto.FLOAT and name not in constants]


def _opened(source: Path, model: onnx.ModelProto, names: Sequence[str]) -> Any:
    """A session that answers with every activation."""
    graph = model.graph
    given = {value.name for value in (*graph.input, *graph.output)}
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in given)
    try:
        content = model.SerializeToString()
        return new_session(content, session_options(usable_threads()))
    except Exception as error:  # onnxruntime's exceptions share no base class
        raise _failed(source, error) from error


def _seen(
    source: Path, session: Any, names: Sequence[str], images: CalibrationImages, bar: Bar
) -> Iterator[tuple[str, FloatArray]]:
    """(tensor, its values) for one image after the other."""
    given = session.get_inputs()[0].name
    inner = [name for name in names if name != given]
    for image in images:
        try:
            answers = session.run(inner, {given: image})
        except Exception as error:  # onnxruntime's exceptions share no base class
            raise _failed(source, error) from error
        if given in names:
            yield given, image
        yield from zip(inner, answers, strict=True)
        bar.advance()


def _failed(source: Path, error: Exception) -> ModelFileError:
    return ModelFileError(
        f"{source}: cannot be calibrated, it does not run ({cause_of(error)}).",
        "Export it again with: kdtool export --onnx",
    )
