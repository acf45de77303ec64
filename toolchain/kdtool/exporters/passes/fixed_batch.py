"""Fixed batch size of 1 in the graph, as NNAPI, Core ML and some compilers require."""

from __future__ import annotations

import onnx


def fix_batch(model: onnx.ModelProto) -> None:
    """Replace, in place, the free first side of the input by 1, wherever its name occurs."""
    graph = model.graph
    free = {value.type.tensor_type.shape.dim[0].dim_param for value in graph.input} - {""}
    for value in (*graph.input, *graph.output, *graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in free:
                dim.dim_value = 1
