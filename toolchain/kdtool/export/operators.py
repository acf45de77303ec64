"""Operators by what they cost: those that multiply nothing, by the custom of the field.

Normalization, activations, pooling, additions and moving of values are not billed. An operator that is
neither here nor among the formulas of `kdtool.export.count` is reported as not counted, never billed at
zero in silence.
"""

from __future__ import annotations

import onnx

STANDARD = ""  # the domain of ONNX's own operators, which may also be spelt out
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
    BiasAdd BiasGelu BiasSoftmax DequantizeLinear FastGelu Gelu LayerNormalization QuantizeLinear QuickGelu
    RMSNormalization SimplifiedLayerNormalization SkipLayerNormalization
    SkipSimplifiedLayerNormalization
"""
FREE: frozenset[Operator] = frozenset(
    [(STANDARD, name) for name in _FREE.split()]
    + [("com.microsoft", name) for name in _FREE_MICROSOFT.split()]
)


def operator(node: onnx.NodeProto) -> Operator:
    """Domain and name."""
    return (STANDARD if node.domain == "ai.onnx" else node.domain), node.op_type


def spelt(found: Operator) -> str:
    """For messages: `Conv`, `com.microsoft.FusedConv`."""
    return ".".join(part for part in found if part)


def has_subgraph(node: onnx.NodeProto) -> bool:
    """A branch or the body of a loop, whose compute depends on the way through it."""
    return any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute)
