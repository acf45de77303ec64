"""Translation from torch to ONNX by the dynamo exporter: input `images`, output `logits`, free batch size."""

from __future__ import annotations

import onnx
import torch
from onnx import inliner, version_converter
from torch import nn

from kdtool.core.errors import ModelFileError
from kdtool.core.quiet import quietly
from kdtool.core.spelling import assigned
from kdtool.core.text import cause_of, innermost, printable
from kdtool.exporters.passes.pooling import use_global_average_pool
from kdtool.graph.onnxfile import INPUT, OUTPUT

EXPORTER_LEAST = 18  # the exporter writes no older operator set
NEWER = 20  # has single operators for what opset 18 composes, and runtimes support it
EXAMPLES = 2  # with one example image, the exporter may fix the batch size at 1


def export_network(network: nn.Module, arch: str, size: int, opset: int) -> onnx.ModelProto:
    """Return the graph of a network, not yet simplified; equal weights give equal graphs.

    Args:
        network: in eval mode, on the CPU; it computes logits (N, K) of images (N, 3, size, size).
        arch: the network's name, for messages.
        opset: version of the standard operators; below 18 the exported graph is converted.

    Raises:
        ModelFileError: the exporter cannot translate this network, or the network needs a newer opset.
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
    except Exception as error:  # the exporter raises many kinds of exceptions
        first = innermost(error)  # the exporter wraps it in advice, with colours
        raise ModelFileError(
            f"{arch} cannot be exported to ONNX with opset {opset} "
            f"({type(first).__name__}: {printable(cause_of(first))}).",
            f"Try another operator set, {assigned({'export.opset': _other_opset(opset)})}, "
            "or another network.",
        ) from error
    use_global_average_pool(model)
    return convert_opset(model, arch, opset) if opset < EXPORTER_LEAST else model


def _other_opset(opset: int) -> int:
    """Return an operator set to try after `opset` failed."""
    return NEWER if opset != NEWER else EXPORTER_LEAST


def convert_opset(model: onnx.ModelProto, arch: str, opset: int) -> onnx.ModelProto:
    """Return the model in an older operator set, for runtimes that do not support newer ones.

    Raises:
        ModelFileError: one of its operators has no older form.
    """
    try:
        return version_converter.convert_version(model, opset)
    except Exception as error:  # the converter raises many kinds of exceptions
        raise ModelFileError(
            f"{arch} cannot be written with opset {opset} ({cause_of(error)}).",
            f"Try a newer operator set, {assigned({'export.opset': EXPORTER_LEAST})}, or another network.",
        ) from error
