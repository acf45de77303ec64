"""The shape of every tensor of a graph, for one image."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper

from kdtool.core.errors import ModelFileError
from kdtool.core.text import cause_of
from kdtool.graph.onnxread import infer_shapes
from kdtool.runtime.onnxruntime import new_session, session_options

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]


def tensor_shapes(model: onnx.ModelProto, name: str) -> dict[str, Shape]:
    """Name → shape. Inferred; where inference does not follow (Swin's windows), seen in a run on zeros.

    Args:
        model: left as it is; a free first side of an input is taken as 1.
        name: how messages call the model.

    Raises:
        ModelFileError: another side of an input is free, the graph is broken, or does not run.
    """
    single = _of_one_image(model, name)
    found = {tensor.name: tuple(tensor.dims) for tensor in single.graph.initializer}
    graph = infer_shapes(single, name, values=True)
    for value in (*graph.input, *graph.value_info, *graph.output):
        shape = value.type.tensor_type.shape
        if value.type.tensor_type.HasField("shape") and all(dim.HasField("dim_value") for dim in shape.dim):
            found[value.name] = tuple(dim.dim_value for dim in shape.dim)
    missing = [out for node in single.graph.node for out in node.output if out and out not in found]
    return found | _seen(single, missing, name) if missing else found


def _of_one_image(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """A copy whose inputs are fixed; shapes declared for a free batch are forgotten."""
    single = onnx.ModelProto()
    single.CopyFrom(model)
    graph = single.graph
    del graph.value_info[:]
    for output in graph.output:
        output.CopyFrom(helper.make_tensor_value_info(output.name, output.type.tensor_type.elem_type, None))
    for value in graph.input:
        dims = value.type.tensor_type.shape.dim
        if dims and not dims[0].HasField("dim_value"):
            dims[0].dim_value = 1
        if not all(dim.HasField("dim_value") for dim in dims):
            sides = " × ".join(str(dim.dim_value or dim.dim_param or "?") for dim in dims)
            raise ModelFileError(
                f"{name}: its input {value.name!r} is {sides}; only the batch may be free to be counted.",
                "Export it again with: kdtool export --onnx",
            )
    return single


def _seen(single: onnx.ModelProto, names: list[str], name: str) -> dict[str, Shape]:
    """The shapes of `names` in a run on zeros; nothing is optimized away."""
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
            for value in single.graph.input
        }
        return {key: np.shape(value) for key, value in zip(names, session.run(names, zeros), strict=True)}
    except Exception as error:  # onnxruntime's exceptions share no base class
        raise ModelFileError(
            f"{name}: its compute cannot be counted, it does not run ({cause_of(error)}).",
            "Export it again with: kdtool export --onnx",
        ) from error
