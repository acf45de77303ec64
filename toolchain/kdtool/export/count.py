"""Compute and parameters, counted from the ONNX graph itself.

A multiply–accumulate (MAC) is one multiplication and one addition; FLOPs = 2 · MACs. Counted are the
products of layers and of attention; normalization, activations, pooling and additions are not, as is
the custom of the field:

    Conv            |Y| · (C_in / groups) · k_h · k_w
    ConvTranspose   |X| · (C_out / groups) · k_h · k_w
    Gemm, MatMul    |Y| · K                              K: length of the inner dimension
    Attention       |Q| · L_k + |Y| · L_k                L_k: number of keys

|T| is the number of elements of a tensor, for one image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import helper, shape_inference

from kdtool.core.errors import ModelFileError

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]
FLOAT_TYPES = {
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.FLOAT16,
    onnx.TensorProto.DOUBLE,
    onnx.TensorProto.BFLOAT16,
}
# Operators with products we have no formula for; a model with one is reported, not billed at zero in silence.
UNKNOWN_PRODUCTS = frozenset(
    {"Einsum", "LSTM", "GRU", "RNN", "MatMulInteger", "ConvInteger", "DeformConv", "DFT"}
)


@dataclass(frozen=True)
class LayerCount:
    """MACs of one node; `dynamic` where both factors are activations, as in attention."""

    name: str
    op: str
    macs: int
    dynamic: bool


@dataclass(frozen=True)
class Count:
    """Of one image.

    Attributes:
        params: floating-point numbers stored in the graph. Batch norms are folded into their
            convolutions, so there are fewer than the network was trained with.
        macs: multiply–accumulates.
        layers: what they consist of, in the order of the graph.
        uncounted: operators that multiply and are not counted.
    """

    params: int
    macs: int
    layers: tuple[LayerCount, ...]
    uncounted: tuple[str, ...]

    @property
    def flops(self) -> int:
        return 2 * self.macs

    @property
    def attention_macs(self) -> int:
        """The share of products of two activations."""
        return sum(layer.macs for layer in self.layers if layer.dynamic)


def count_onnx(model: onnx.ModelProto | Path) -> Count:
    """Count a float or QDQ model at batch 1.

    Raises:
        ModelFileError: a layer's shape depends on more than the batch.
    """
    name = str(model) if isinstance(model, Path) else "the model"
    proto = onnx.load(model) if isinstance(model, Path) else model
    shapes = _shapes(proto)
    constants = {tensor.name for tensor in proto.graph.initializer}
    for node in proto.graph.node:  # Constant, and what DequantizeLinear, Reshape, … make of constants
        if all(source in constants for source in node.input if source):
            constants.update(node.output)
    layers = []
    for node in proto.graph.node:
        if node.op_type in FORMULAS:
            try:
                macs = FORMULAS[node.op_type](node, shapes)
            except KeyError as error:
                raise ModelFileError(
                    f"{name}: cannot count {node.op_type} {node.name!r}, the shape of {error} is free.",
                    "Only the batch may be free; export it again with: kdtool export --onnx",
                ) from error
            dynamic = not any(source in constants for source in node.input[:2])
            layers.append(LayerCount(node.name, node.op_type, macs, dynamic))
    return Count(
        params=sum(
            math.prod(t.dims) for t in proto.graph.initializer if t.data_type in FLOAT_TYPES and t.dims
        ),
        macs=sum(layer.macs for layer in layers),
        layers=tuple(layers),
        uncounted=tuple(sorted({n.op_type for n in proto.graph.node} & UNKNOWN_PRODUCTS)),
    )


def _conv(node: onnx.NodeProto, shapes: Shapes) -> int:
    weight = shapes[node.input[1]]  # (C_out, C_in / groups, k_h, k_w)
    return math.prod(shapes[node.output[0]]) * math.prod(weight[1:])


def _conv_transpose(node: onnx.NodeProto, shapes: Shapes) -> int:
    weight = shapes[node.input[1]]  # (C_in, C_out / groups, k_h, k_w)
    return math.prod(shapes[node.input[0]]) * math.prod(weight[1:])


def _gemm(node: onnx.NodeProto, shapes: Shapes) -> int:
    transposed = any(a.name == "transA" and a.i for a in node.attribute)
    return math.prod(shapes[node.output[0]]) * shapes[node.input[0]][0 if transposed else -1]


def _matmul(node: onnx.NodeProto, shapes: Shapes) -> int:
    return math.prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]


def _attention(node: onnx.NodeProto, shapes: Shapes) -> int:
    keys = shapes[node.input[1]][-2]
    return (math.prod(shapes[node.input[0]]) + math.prod(shapes[node.output[0]])) * keys


FORMULAS: Mapping[str, Callable[[onnx.NodeProto, Shapes], int]] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Attention": _attention,
}


def _shapes(model: onnx.ModelProto) -> dict[str, Shape]:
    """Name → shape of every tensor whose shape is fixed once the batch is 1."""
    single = onnx.ModelProto()
    single.CopyFrom(model)
    graph = single.graph
    del graph.value_info[:]  # they carry the free batch
    initializers = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in graph.input:
        dims = value.type.tensor_type.shape.dim
        if value.name not in initializers and dims and not dims[0].HasField("dim_value"):
            dims[0].dim_value = 1
    for output in graph.output:
        output.CopyFrom(helper.make_tensor_value_info(output.name, output.type.tensor_type.elem_type, None))
    inferred = shape_inference.infer_shapes(single, data_prop=True).graph
    found = dict(initializers)
    for value in (*inferred.input, *inferred.value_info, *inferred.output):
        shape = value.type.tensor_type.shape
        if value.type.tensor_type.HasField("shape") and all(d.HasField("dim_value") for d in shape.dim):
            found[value.name] = tuple(d.dim_value for d in shape.dim)
    return found
