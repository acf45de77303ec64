"""Shapes of the tensors of a graph, for one image."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper

from kdtool.core.errors import ModelFileError
from kdtool.core.text import cause_of
from kdtool.graph.onnxread import fed_inputs, infer_shapes
from kdtool.runtime.onnxruntime import new_session, session_options

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]


def tensor_shapes(model: onnx.ModelProto, name: str, needed: Collection[str]) -> dict[str, Shape]:
    """Return name → shape: inferred or, if inference fails (windows of Swin), observed in a run on zeros.

    Args:
        model: not changed; a free first side of an input is taken as 1. A side is fixed if it is above 0:
            some exporters spell a free side −1 or 0.
        name: the name of the model in messages.
        needed: tensors whose shapes are wanted; others may be missing.

    Raises:
        ModelFileError: another side of an input is free, or the graph is broken or does not run.
    """
    single = _of_one_image(model, name)
    shapes = {tensor.name: tuple(tensor.dims) for tensor in single.graph.initializer}
    graph = infer_shapes(single, name, values=True)
    for value in (*graph.input, *graph.value_info, *graph.output):
        shape = value.type.tensor_type.shape
        if value.type.tensor_type.HasField("shape") and all(dim.dim_value > 0 for dim in shape.dim):
            shapes[value.name] = tuple(dim.dim_value for dim in shape.dim)
    missing = [out for out in needed if out not in shapes]
    return shapes | _observed_shapes(single, missing, name) if missing else shapes


def _of_one_image(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """Return a copy with fixed input shapes, without the shapes declared for a free batch size."""
    single = onnx.ModelProto()
    single.CopyFrom(model)
    graph = single.graph
    del graph.value_info[:]
    for output in graph.output:
        output.CopyFrom(helper.make_tensor_value_info(output.name, output.type.tensor_type.elem_type, None))
    for value in fed_inputs(graph):
        dims = value.type.tensor_type.shape.dim
        if dims and dims[0].dim_value <= 0:
            dims[0].dim_value = 1
        if not all(dim.dim_value > 0 for dim in dims):
            sides = " × ".join(str(dim.dim_value or dim.dim_param or "?") for dim in dims)
            raise ModelFileError(
                f"{name}: its input {value.name!r} is {sides}; only the batch may be free, to be counted.",
                "Export it with fixed height and width, as kdtool export --onnx does.",
            )
    return single


def _observed_shapes(single: onnx.ModelProto, names: list[str], name: str) -> dict[str, Shape]:
    """Return the shapes of `names` in a run on zeros, without graph optimization."""
    existing = {output.name for output in single.graph.output}
    single.graph.output.extend(
        onnx.ValueInfoProto(name=missing) for missing in names if missing not in existing
    )
    options = session_options(1)
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = new_session(single.SerializeToString(), options)
        zeros = {
            value.name: np.zeros(
                [dim.dim_value for dim in value.type.tensor_type.shape.dim],
                helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type),
            )
            for value in fed_inputs(single.graph)
        }
        return {key: np.shape(value) for key, value in zip(names, session.run(names, zeros), strict=True)}
    except Exception as error:  # onnxruntime's exceptions share no base class
        raise ModelFileError(
            f"{name}: its compute cannot be counted, because it does not run ({cause_of(error)}).",
            "Export it again with: kdtool export --onnx",
        ) from error
