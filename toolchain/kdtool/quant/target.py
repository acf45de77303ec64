"""Quantization schemes: the INT8 that suits each kind of processor.

ONNX Runtime's integer kernels differ by instruction set. U8S8 means unsigned activations and signed
weights. Without VNNI, x86 multiplies with VPMADDUBSW, whose int16 sums saturate: weights of 7 bits
(`reduce_range`) avoid that. ARM's dot product wants both signed. WebAssembly widens to 16 bits before it
multiplies and sums in 32, so that nothing saturates.

Weights are symmetric, activations are asymmetric: their zero point is added to the bias when the file is
loaded. If the zero point is the smallest integer, clipping to 8 bits does what ReLU does, and the runtime
leaves the ReLU out; with a zero point of 0 it would compute each ReLU in float.
Source: ONNX Runtime, "Quantize ONNX models", the documentation of `quantize_static`, and pull request 11696.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

from kdtool.recipe.choices import Int8Target

IntegerType = Literal["uint8", "int8"]


class QuantFormat(StrEnum):
    """Format of INT8 in a file.

    `QDQ` has float operators between DequantizeLinear and QuantizeLinear; `QOPERATOR` has integer operators.
    """

    QDQ = "QDQ"
    QOPERATOR = "QOperator"


@dataclass(frozen=True)
class Int8Scheme:
    """Quantization scheme: how a network becomes INT8.

    Attributes:
        target: the kind of processor; `kdtool.machine.cpu.int8_target` returns all but `WEB`.
        activation, weight: integer types.
        per_channel: one scale for each output channel of a weight, instead of one for all.
        reduce_range: weights of 7 bits.
        reason: why the scheme suits the target, in words.
    """

    target: Int8Target
    activation: IntegerType
    weight: IntegerType
    per_channel: bool
    reduce_range: bool
    reason: str
    quant_format: QuantFormat = QuantFormat.QDQ

    def __str__(self) -> str:
        types = "".join("U8" if kind == "uint8" else "S8" for kind in (self.activation, self.weight))
        granularity = "per channel" if self.per_channel else "per tensor"
        width = "weights of 7 bits" if self.reduce_range else "full range"
        return f"{self.quant_format}, {types}, {granularity}, asymmetric activations, {width}"


SCHEMES: Mapping[Int8Target, Int8Scheme] = {
    scheme.target: scheme
    for scheme in (
        Int8Scheme(
            Int8Target.X86_AVX2, "uint8", "int8", True, True, "x86 without VNNI saturates at full range"
        ),
        Int8Scheme(Int8Target.X86_VNNI, "uint8", "int8", True, False, "x86 with VNNI sums in 32 bits"),
        Int8Scheme(Int8Target.ARM_DOTPROD, "int8", "int8", True, False, "ARM's dot product is signed"),
        Int8Scheme(Int8Target.ARM, "int8", "int8", True, False, "ARM without dot product; the gain is small"),
        Int8Scheme(
            Int8Target.WEB,
            "uint8",
            "int8",
            True,
            False,
            "WebAssembly sums in 32 bits; INT8 has been slower than float32 there, measure in the browser",
        ),
    )
}


def int8_scheme(target: str, reduce_range: bool | Literal["auto"] = "auto") -> Int8Scheme:
    """Return the scheme of a target; `reduce_range`, unless auto, replaces that of the scheme."""
    scheme = SCHEMES[Int8Target(target)]
    if reduce_range == "auto":
        return scheme
    return replace(scheme, reduce_range=reduce_range, reason="reduce_range was set by hand")
