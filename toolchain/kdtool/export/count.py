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

from kdtool.export.shapes import Shape, Shapes, tensor_shapes
from kdtool.runtime.guard import read_model

FLOAT_TYPES = {
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.FLOAT16,
    onnx.TensorProto.DOUBLE,
    onnx.TensorProto.BFLOAT16,
}
# Operators with products we have no formula for; a model with one is reported, not billed at zero in silence.
UNKNOWN_PRODUCTS = frozenset(
    {
        *("Einsum", "LSTM", "GRU", "RNN", "DeformConv", "DFT"),
        *("MatMulInteger", "ConvInteger", "QLinearConv", "QLinearMatMul", "QGemm"),
    }
)


@dataclass(frozen=True)
class LayerCount:
    """One node.

    Attributes:
        output: shape of its result, for one image.
        params: elements of its weights and bias, quantized ones too.
        dynamic: both factors are activations, as in attention.
    """

    name: str
    op: str
    output: Shape
    macs: int
    params: int
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
    def other_params(self) -> int:
        """Of what multiplies nothing or has its bias in a node of its own: normalization, embeddings."""
        return self.params - sum(layer.params for layer in self.layers)

    @property
    def attention_macs(self) -> int:
        """The share of products of two activations."""
        return sum(layer.macs for layer in self.layers if layer.dynamic)


def count_onnx(model: onnx.ModelProto | Path) -> Count:
    """Count a float or QDQ model at batch 1.

    Raises:
        ModelFileError: broken or hostile, or shapes depend on more than the batch.
    """
    name = str(model) if isinstance(model, Path) else "the model"
    proto = onnx.load_model_from_string(read_model(model)) if isinstance(model, Path) else model
    shapes = tensor_shapes(proto, name)
    constants = {tensor.name for tensor in proto.graph.initializer}
    for node in proto.graph.node:  # Constant, and what DequantizeLinear, Reshape, … make of constants
        if all(source in constants for source in node.input if source):
            constants.update(node.output)
    layers = [
        LayerCount(
            name=node.name,
            op=node.op_type,
            output=shapes[node.output[0]],
            params=sum(math.prod(shapes[name]) for name in node.input if name in constants),
            macs=FORMULAS[node.op_type](node, shapes),
            dynamic=not any(source in constants for source in node.input[:2]),
        )
        for node in proto.graph.node
        if node.op_type in FORMULAS
    ]
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
