"""Which INT8 suits which processor.

ONNX Runtime's integer kernels differ by instruction set. U8S8 means unsigned activations and signed
weights. Without VNNI, x86 multiplies with VPMADDUBSW, whose int16 sums saturate: weights of 7 bits
(`reduce_range`) avoid that. ARM's dot product wants both signed. WebAssembly widens to 16 bits before it
multiplies and sums in 32, so that nothing saturates.

Weights are symmetric, activations are not: their zero point is added to the bias when the file is loaded. A
zero point that is the smallest integer makes clipping to 8 bits and ReLU the same, and the ReLU is left out;
with a zero point of 0 each of them would be computed in float.
Source: ONNX Runtime, "Quantize ONNX models", the documentation of `quantize_static`, and pull request 11696.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

IntegerType = Literal["uint8", "int8"]
Form = Literal["QDQ", "QOperator"]
WEB = "web"


@dataclass(frozen=True)
class Int8Recipe:
    """How a network is quantized.

    Attributes:
        target: the kind of processor, a key of `TARGETS`; all but `web` are what
            `kdtool.machine.cpu.int8_target` answers.
        activation, weight: integer types.
        per_channel: one scale for each output channel of a weight, instead of one for all.
        reduce_range: weights of 7 bits.
        reason: why, in words.
        form: QDQ keeps float operators between Quantize and Dequantize; QOperator has integer ones.
    """

    target: str
    activation: IntegerType
    weight: IntegerType
    per_channel: bool
    reduce_range: bool
    reason: str
    form: Form = "QDQ"

    def __str__(self) -> str:
        types = "".join("U8" if kind == "uint8" else "S8" for kind in (self.activation, self.weight))
        granularity = "per channel" if self.per_channel else "per tensor"
        width = "weights of 7 bits" if self.reduce_range else "full range"
        return f"{self.form}, {types}, {granularity}, asymmetric activations, {width}"


TARGETS: Mapping[str, Int8Recipe] = {
    recipe.target: recipe
    for recipe in (
        Int8Recipe("x86-avx2", "uint8", "int8", True, True, "x86 without VNNI saturates at full range"),
        Int8Recipe("x86-vnni", "uint8", "int8", True, False, "x86 with VNNI sums in 32 bits"),
        Int8Recipe("arm-dotprod", "int8", "int8", True, False, "ARM's dot product is signed"),
        Int8Recipe("arm", "int8", "int8", True, False, "ARM without dot product; the gain is small"),
        Int8Recipe(
            WEB,
            "uint8",
            "int8",
            True,
            False,
            "WebAssembly sums in 32 bits; INT8 has been slower than float32 there, measure in the browser",
        ),
    )
}


def int8_recipe(target: str, reduce_range: bool | Literal["auto"] = "auto") -> Int8Recipe:
    """The recipe of a target, with the user's say on `reduce_range`."""
    recipe = TARGETS[target]
    if reduce_range == "auto":
        return recipe
    return replace(recipe, reduce_range=reduce_range, reason="reduce_range was set by hand")
