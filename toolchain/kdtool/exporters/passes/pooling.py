"""Replacement of means over height and width by global average pools.

torch's exporter writes `AdaptiveAvgPool2d(1)` as ReduceMean. ONNX Runtime's quantizer does not know this
operator, so an INT8 model would compute it in float.

    ReduceMean(x, axes={2, 3}, keepdims=1) = GlobalAveragePool(x)                    x: (N, C, H, W)
    ReduceMean(x, axes={2, 3}, keepdims=0) = Flatten(GlobalAveragePool(x), axis=1)
"""

from __future__ import annotations

import onnx
from onnx import helper, numpy_helper, shape_inference

SPATIAL = {2, 3}
IMAGE_RANK = 4


def use_global_average_pool(model: onnx.ModelProto) -> int:
    """Rewrite, in place, every such mean of a (N, C, H, W) tensor; return their number."""
    graph = model.graph
    means = [node for node in graph.node if node.op_type == "ReduceMean"]
    if not means:
        return 0
    ranks = _ranks(model)
    constants = {tensor.name: tensor for tensor in graph.initializer}
    constants |= {node.output[0]: node.attribute[0].t for node in graph.node if node.op_type == "Constant"}
    rewritten = 0
    for mean in means:
        if ranks.get(mean.input[0]) == IMAGE_RANK and _axes(mean, constants) == SPATIAL:
            _rewrite(graph, mean)
            rewritten += 1
    _drop_unused_initializers(graph)
    return rewritten


def _rewrite(graph: onnx.GraphProto, mean: onnx.NodeProto) -> None:
    position = next(index for index, node in enumerate(graph.node) if node is mean or node == mean)
    keepdims = next((a.i for a in mean.attribute if a.name == "keepdims"), 1)
    pooled = mean.output[0] if keepdims else f"{mean.output[0]}_pooled"
    nodes = [helper.make_node("GlobalAveragePool", [mean.input[0]], [pooled], name=mean.name)]
    if not keepdims:
        nodes.append(
            helper.make_node("Flatten", [pooled], [mean.output[0]], name=f"{mean.name}_flatten", axis=1)
        )
    graph.node.remove(mean)
    for offset, node in enumerate(nodes):
        graph.node.insert(position + offset, node)


def _axes(mean: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> set[int]:
    """Return the axes, counted from the front; empty if they are not constant."""
    if len(mean.input) < 2 or mean.input[1] not in constants:
        return set()
    return {int(axis) % IMAGE_RANK for axis in numpy_helper.to_array(constants[mean.input[1]]).reshape(-1)}


def _ranks(model: onnx.ModelProto) -> dict[str, int]:
    graph = shape_inference.infer_shapes(model).graph
    values = (*graph.input, *graph.value_info, *graph.output)
    return {v.name: len(v.type.tensor_type.shape.dim) for v in values if v.type.tensor_type.HasField("shape")}


def _drop_unused_initializers(graph: onnx.GraphProto) -> None:
    used = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
