"""torch → ONNX by the dynamo exporter: one file, batch free, `images` in, `logits` out."""

from __future__ import annotations

import onnx
import torch
from onnx import inliner, version_converter
from torch import nn

from kdtool.core.errors import ModelFileError
from kdtool.core.quiet import quietly
from kdtool.core.text import cause_of
from kdtool.exporters.passes.pooling import use_global_average_pool
from kdtool.graph.onnxfile import INPUT, OUTPUT

EXPORTER_LEAST = 18  # the exporter writes no older operator set
NEWER = 20  # has operators of its own for what 18 spells out, and runtimes know it
EXAMPLES = 2  # an example of one can freeze the batch at 1


def export_network(network: nn.Module, arch: str, size: int, opset: int) -> onnx.ModelProto:
    """The graph of a network, not yet simplified; equal weights give equal graphs.

    Args:
        network: in eval mode, on the CPU, logits (N, K) of images (N, 3, size, size).
        arch: its name, for the message.
        opset: of the standard operators; under 18 the graph is converted, which the gate has to judge.

    Raises:
        ModelFileError: the exporter cannot translate this network, or it needs newer operators.
    """
    example = torch.zeros(EXAMPLES, 3, size, size)
    try:
        with quietly(), torch.no_grad():
            program = torch.onnx.export(
                network,
                (example,),
                input_names=[INPUT],
                output_names=[OUTPUT],
                opset_version=max(opset, EXPORTER_LEAST),
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                external_data=False,
                verbose=False,
            )
            assert program is not None
            model = inliner.inline_local_functions(program.model_proto)
    except Exception as error:  # the exporter's passes raise many kinds
        raise ModelFileError(
            f"{arch} cannot be exported to ONNX with opset {opset} "
            f"({type(error).__name__}: {cause_of(error)}).",
            f"Try another operator set, --set export.opset={another(opset)}, or another network.",
        ) from error
    use_global_average_pool(model)
    return lowered(model, arch, opset) if opset < EXPORTER_LEAST else model


def another(opset: int) -> int:
    """An operator set to try where `opset` failed."""
    return NEWER if opset != NEWER else EXPORTER_LEAST


def lowered(model: onnx.ModelProto, arch: str, opset: int) -> onnx.ModelProto:
    """The model in an older operator set, as runtimes that lag behind want it.

    Raises:
        ModelFileError: an operator of it has no older form.
    """
    try:
        return version_converter.convert_version(model, opset)
    except Exception as error:  # the converter raises whatever the graph leads it to
        raise ModelFileError(
            f"{arch} cannot be written with opset {opset} ({cause_of(error)}).",
            f"Try a newer operator set, --set export.opset={EXPORTER_LEAST}, or another network.",
        ) from error
