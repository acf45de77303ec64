"""Compute and parameters, counted from the ONNX graph itself.

A multiply–accumulate (MAC) is one multiplication and one addition; FLOPs = 2 · MACs. The products of layers
and of attention are counted. Normalization, activations, pooling and additions are not, as is the custom of
the field:

    Conv            |Y| · (C_in / groups) · k_h · k_w
    ConvTranspose   |X| · (C_out / groups) · k_h · k_w
    Gemm, MatMul    |Y| · K                              K: length of the inner dimension
    Attention       |Q| · L_k + |Y| · L_k                L_k: number of keys

|T| is the number of elements of a tensor, for one image. Products of integers (QLinearConv, QGemm, …) count
like products of floats. Parameters are the elements of weights and biases, stored as floats or as integers
that DequantizeLinear or an integer operator reads. The scales and zero points of these integers are not
parameters. (Scales that a Mul applies, as after MatMulInteger, count like any other number.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx

from kdtool.exporters.compute.operators import (
    FREE,
    MICROSOFT,
    STANDARD,
    VALUES,
    Operator,
    has_subgraph,
    operator,
    spelt,
    values,
)
from kdtool.exporters.compute.shapes import Shape, Shapes, tensor_shapes
from kdtool.graph.onnxread import graph_errors, parse_model
from kdtool.runtime.onnxbytes.guard import read_model

FILLED = (STANDARD, "ConstantOfShape")
FLOAT_TYPES = {
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.FLOAT16,
    onnx.TensorProto.DOUBLE,
    onnx.TensorProto.BFLOAT16,
}


@dataclass(frozen=True)
class LayerCount:
    """Count of one node.

    Attributes:
        output: shape of its output, for one image.
        params: elements of its weights and bias, also if they are quantized.
        dynamic: True if both factors are activations, as in attention.
    """

    name: str
    op: str
    output: Shape
    macs: int
    params: int
    dynamic: bool


@dataclass(frozen=True)
class Count:
    """Compute and parameters of a graph, for one image.

    Attributes:
        params: parameters in the graph, floats and quantized ones. Batch norms are folded into their
            convolutions, so the network was trained with more.
        macs: multiply–accumulates; a lower limit if `uncounted` is not empty.
        layers: the counted nodes, in the order of the graph.
        uncounted: operators that may multiply and are not counted: those without a formula, those that
            contain a subgraph, and functions that the file defines.
    """

    params: int
    macs: int
    layers: tuple[LayerCount, ...]
    uncounted: tuple[str, ...]

    @property
    def exact_macs(self) -> int | None:
        """Multiply–accumulates, or None if an operator is uncounted."""
        return None if self.uncounted else self.macs

    @property
    def flops(self) -> int:
        """Floating-point operations, 2 · MACs."""
        return 2 * self.macs

    @property
    def other_params(self) -> int:
        """Parameters outside the counted layers: normalization, embeddings, a bias in a node of its own."""
        return self.params - sum(layer.params for layer in self.layers)

    @property
    def attention_macs(self) -> int:
        """Multiply–accumulates of products of two activations."""
        return sum(layer.macs for layer in self.layers if layer.dynamic)


def count_onnx(model: onnx.ModelProto | Path) -> Count:
    """Count a float or INT8 model, QDQ or with integer operators, for one image.

    Raises:
        ModelFileError: the file is broken or hostile, or shapes depend on more than the batch size.
    """
    name = str(model) if isinstance(model, Path) else "the model"
    proto = parse_model(read_model(model), name) if isinstance(model, Path) else model
    shapes = tensor_shapes(proto, name, _needed(proto.graph))
    with graph_errors(name):
        return _count(proto, shapes)


def _needed(graph: onnx.GraphProto) -> list[str]:
    """Tensors whose shapes the count needs: the operands and results of the layers, and computed weights."""
    names: dict[str, None] = {}
    for node in graph.node:
        if operator(node) in FORMULAS:
            names |= dict.fromkeys([*filter(None, values(node)), *node.output[:1]])
        elif operator(node) == FILLED:
            names |= dict.fromkeys(node.output[:1])
    return list(names)


def _count(model: onnx.ModelProto, shapes: Shapes) -> Count:
    graph = model.graph
    stored = _stored(graph, shapes)
    origins: dict[str, set[str]] = {name: {name} for name in [tensor.name for tensor in graph.initializer]}
    layers: list[LayerCount] = []
    billed: set[str] = set()  # a weight that two layers share counts for the first layer
    for node in graph.node:
        inputs = [name for name in node.input if name]
        if all(name in origins for name in inputs):  # DequantizeLinear, Reshape, … of constants
            own = not inputs or operator(node) == FILLED
            sources = set(node.output) if own else set().union(*(origins[name] for name in inputs))
            origins.update(dict.fromkeys(node.output, sources))
        if operator(node) not in FORMULAS:
            continue
        weights = set().union(*(origins.get(name, set()) for name in inputs)) - billed
        billed |= weights
        layers.append(
            LayerCount(
                name=node.name,
                op=node.op_type,
                output=shapes[node.output[0]],
                params=sum(stored.get(name, 0) for name in weights),
                macs=FORMULAS[operator(node)](node, shapes),
                dynamic=not any(name in origins for name in values(node)[:2]),
            )
        )
    return Count(
        params=sum(stored.values()),
        macs=sum(layer.macs for layer in layers),
        layers=tuple(layers),
        uncounted=_uncounted(model),
    )


def _stored(graph: onnx.GraphProto, shapes: Shapes) -> dict[str, int]:
    """Return weight or bias → number of its elements, however it is stored.

    A weight that ConstantOfShape makes, as in the test data of the package onnx, counts like any other.
    """
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        for value in node.attribute if node.op_type == "Constant" else ():
            if value.name == "value":
                tensors[node.output[0]] = value.t
    readers = [node for node in graph.node if operator(node) in VALUES]
    quantized = {name for node in readers for name in values(node)}
    steps = {name for node in readers for name in node.input if name not in values(node)}
    filled = {
        node.output[0]: math.prod(shapes[node.output[0]])
        for node in graph.node
        if operator(node) == FILLED and node.input[0] in tensors and _makes_floats(node)
    }
    return filled | {
        name: math.prod(tensor.dims)
        for name, tensor in tensors.items()
        if tensor.dims and name not in steps and (name in quantized or tensor.data_type in FLOAT_TYPES)
    }


def _makes_floats(node: onnx.NodeProto) -> bool:
    """True for ConstantOfShape with a value of floats, which is the default."""
    return all(value.t.data_type in FLOAT_TYPES for value in node.attribute if value.name == "value")


def _uncounted(model: onnx.ModelProto) -> tuple[str, ...]:
    local = {(function.domain, function.name) for function in model.functions}
    return tuple(
        sorted(
            {
                spelt(operator(node))
                for node in model.graph.node
                if operator(node) in local
                or has_subgraph(node)
                or (operator(node) not in FORMULAS and operator(node) not in FREE)
            }
        )
    )


def _conv(node: onnx.NodeProto, shapes: Shapes) -> int:
    weight = shapes[values(node)[1]]  # (C_out, C_in / groups, k_h, k_w)
    return math.prod(shapes[node.output[0]]) * math.prod(weight[1:])


def _conv_transpose(node: onnx.NodeProto, shapes: Shapes) -> int:
    weight = shapes[node.input[1]]  # (C_in, C_out / groups, k_h, k_w)
    return math.prod(shapes[node.input[0]]) * math.prod(weight[1:])


def _gemm(node: onnx.NodeProto, shapes: Shapes) -> int:
    transposed = any(a.name == "transA" and a.i for a in node.attribute)
    return math.prod(shapes[node.output[0]]) * shapes[values(node)[0]][0 if transposed else -1]


def _matmul(node: onnx.NodeProto, shapes: Shapes) -> int:
    return math.prod(shapes[node.output[0]]) * shapes[values(node)[0]][-1]


def _attention(node: onnx.NodeProto, shapes: Shapes) -> int:
    keys = shapes[node.input[1]][-2]
    return (math.prod(shapes[node.input[0]]) + math.prod(shapes[node.output[0]])) * keys


FORMULAS: Mapping[Operator, Callable[[onnx.NodeProto, Shapes], int]] = {
    (STANDARD, "Conv"): _conv,
    (STANDARD, "ConvTranspose"): _conv_transpose,
    (STANDARD, "Gemm"): _gemm,
    (STANDARD, "MatMul"): _matmul,
    (STANDARD, "Attention"): _attention,
    (STANDARD, "QLinearConv"): _conv,
    (STANDARD, "QLinearMatMul"): _matmul,
    (STANDARD, "ConvInteger"): _conv,
    (STANDARD, "MatMulInteger"): _matmul,
    (MICROSOFT, "QGemm"): _gemm,
}
