"""Operators: those that cost nothing, and the positions of the operands of integer operators.

By the custom of the field, normalization, activations, pooling, additions and moves of values cost nothing,
in float and in 8 bits. An operator that is neither here nor among the formulas of
`kdtool.exporters.compute.count` is reported as not counted; it never counts as zero in silence.

Integer operators have scales and zero points between their operands. Source: the schemas of ONNX's operators
and of ONNX Runtime's contrib operators (docs/ContribOperators.md).
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx

STANDARD = ""  # the domain of ONNX's own operators, which may also be spelt out
MICROSOFT = "com.microsoft"
Operator = tuple[str, str]  # domain and name

_FREE = """
    Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization BitCast BitShift
    BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast CastLike Ceil Celu CenterCropPad Clip Compress Concat
    Constant ConstantOfShape Cos Cosh CumSum DepthToSpace DequantizeLinear Div Dropout DynamicQuantizeLinear
    Elu Equal Erf Exp Expand EyeLike Flatten Floor Gather GatherElements GatherND Gelu GlobalAveragePool
    GlobalLpPool GlobalMaxPool Greater GreaterOrEqual GroupNormalization HardSigmoid HardSwish Hardmax
    Identity InstanceNormalization IsInf IsNaN LRN LayerNormalization LeakyRelu Less LessOrEqual Log
    LogSoftmax LpNormalization LpPool Max MaxPool Mean MeanVarianceNormalization Min Mish Mod Mul Neg NonZero
    Not OneHot Or PRelu Pad Pow QuantizeLinear RMSNormalization Range Reciprocal ReduceL1 ReduceL2
    ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu
    Reshape Resize Round Scatter ScatterElements ScatterND Selu Shape Shrink Sigmoid Sign Sin Sinh Size Slice
    Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Swish Tan Tanh ThresholdedRelu Tile TopK
    Transpose Trilu Unsqueeze Upsample Where Xor
"""
_FREE_MICROSOFT = """
    BiasAdd BiasGelu BiasSoftmax DequantizeLinear FastGelu Gelu LayerNormalization QLinearAdd
    QLinearAveragePool QLinearConcat QLinearGlobalAveragePool QLinearLeakyRelu QLinearMul QLinearReduceMean
    QLinearSigmoid QLinearSoftmax QLinearWhere QuantizeLinear QuickGelu
    RMSNormalization SimplifiedLayerNormalization SkipLayerNormalization
    SkipSimplifiedLayerNormalization
"""
FREE: frozenset[Operator] = frozenset(
    [(STANDARD, name) for name in _FREE.split()] + [(MICROSOFT, name) for name in _FREE_MICROSOFT.split()]
)
_FIRST = (0,)
# Positions of the values among the inputs of integer operators; all other inputs are scales and zero points.
VALUES: Mapping[Operator, tuple[int, ...]] = {
    (STANDARD, "QuantizeLinear"): _FIRST,
    (STANDARD, "DequantizeLinear"): _FIRST,
    (STANDARD, "QLinearConv"): (0, 3, 8),
    (STANDARD, "QLinearMatMul"): (0, 3),
    (STANDARD, "ConvInteger"): (0, 1),
    (STANDARD, "MatMulInteger"): (0, 1),
    (MICROSOFT, "QuantizeLinear"): _FIRST,
    (MICROSOFT, "DequantizeLinear"): _FIRST,
    (MICROSOFT, "QGemm"): (0, 3, 6),
    (MICROSOFT, "QLinearAdd"): (0, 3),
    (MICROSOFT, "QLinearAveragePool"): _FIRST,
    (MICROSOFT, "QLinearConcat"): tuple(
        range(2, 300, 3)
    ),  # after scale and zero point of the output, three inputs for each operand
    (MICROSOFT, "QLinearGlobalAveragePool"): _FIRST,
    (MICROSOFT, "QLinearLeakyRelu"): _FIRST,
    (MICROSOFT, "QLinearMul"): (0, 3),
    (MICROSOFT, "QLinearReduceMean"): _FIRST,
    (MICROSOFT, "QLinearSigmoid"): _FIRST,
    (MICROSOFT, "QLinearSoftmax"): _FIRST,
    (MICROSOFT, "QLinearWhere"): (1, 4),
}


def operator(node: onnx.NodeProto) -> Operator:
    """Domain and name of the operator of a node."""
    return (STANDARD if node.domain == "ai.onnx" else node.domain), node.op_type


def values(node: onnx.NodeProto) -> list[str]:
    """Names of the operands of a node, without scales and zero points."""
    positions = VALUES.get(operator(node))
    names = list(node.input)
    return names if positions is None else [names[index] for index in positions if index < len(names)]


def spelt(identity: Operator) -> str:
    """Name of an operator in messages: `Conv`, `com.microsoft.FusedConv`."""
    return ".".join(part for part in identity if part)


def has_subgraph(node: onnx.NodeProto) -> bool:
    """True for a branch or a loop, whose compute depends on the path through it."""
    return any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute)
