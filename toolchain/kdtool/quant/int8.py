"""Static INT8 quantization by ONNX Runtime's quantizer, with ranges that kdtool observed.

In the format QDQ, QuantizeLinear and DequantizeLinear surround float operators. Every runtime reads this
format, and ONNX Runtime fuses these nodes into integer operators when it loads the file. In the format
QOperator, the file contains the integer operators. The quantizer gets the ranges as a calibration cache,
because its own calibrators keep every activation of every image in memory, or forget earlier images
(`CalibMaxIntermediateOutputs`).
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.calibrate import TensorsData, save_tensors_data

from kdtool.calibration.histogram import Range
from kdtool.core.errors import ModelFileError
from kdtool.core.files import PARTIAL
from kdtool.core.quiet import quietly
from kdtool.core.spelling import assigned
from kdtool.core.text import cause_of
from kdtool.graph.onnxread import parse_model
from kdtool.quant.target import Int8Scheme
from kdtool.runtime.onnxbytes.guard import read_model

TYPES = {"uint8": QuantType.QUInt8, "int8": QuantType.QInt8}
# In a transformer only the products are quantized: the ranges of softmax, layer norm and the residual stream
# are too wide for 8 bits. DeiT-Tiny (random weights, 96 pixels): the signal-to-noise ratio of the logits is
# 26 dB, and 4 dB with all operators quantized.
PRODUCTS = ("Conv", "Gemm", "MatMul")
TRANSFORMER = "LayerNormalization"


def quantize_to_int8(
    source: Path,
    ranges: Mapping[str, Range],
    scheme: Int8Scheme,
    only: Sequence[str] = (),
    fp32_layers: Sequence[str] = (),
) -> onnx.ModelProto:
    """Return the INT8 model of the float32 ONNX file `source`; equal inputs give equal models.

    Args:
        ranges: activation → the smallest and the largest value that 8 bits will represent.
        only: names of the nodes to quantize; empty: all.
        fp32_layers: names of nodes that are kept in FP32.

    Raises:
        ModelFileError: the quantizer cannot handle the graph.
    """
    graph = parse_model(read_model(source), source).graph
    products_only = any(node.op_type == TRANSFORMER for node in graph.node)
    with _work_folder(source.parent) as folder:
        # A copy, because the quantizer writes files beside the file that it reads.
        copy, target = Path(shutil.copyfile(source, folder / "float.onnx")), folder / "int8.onnx"
        cache = folder / "ranges.json"
        try:
            with quietly():
                save_tensors_data(_tensors_data(ranges), cache)
                quantize_static(
                    copy,
                    target,
                    None,
                    calibration_cache_path=cache,
                    quant_format=QuantFormat[scheme.quant_format],
                    op_types_to_quantize=list(PRODUCTS) if products_only else None,
                    nodes_to_quantize=list(only),
                    nodes_to_exclude=list(fp32_layers),
                    per_channel=scheme.per_channel,
                    reduce_range=scheme.reduce_range,
                    activation_type=TYPES[scheme.activation],
                    weight_type=TYPES[scheme.weight],
                    calibrate_method=CalibrationMethod.MinMax,  # the cache contains two ends for each tensor
                    extra_options={
                        "ActivationSymmetric": False,
                        "WeightSymmetric": scheme.weight == "int8",
                    },
                )
        except OSError:
            raise
        except Exception as error:  # the quantizer raises many kinds of exceptions
            raise ModelFileError(
                f"{source}: ONNX Runtime cannot quantize it ({type(error).__name__}: {cause_of(error)}).",
                "Ship the float32 model (kdtool bench measures it), or try another network: "
                f"{assigned({'student.arch': 'NAME'})}",
            ) from error
        model = onnx.load(target)
    _keep_fp32(model.graph, fp32_layers)
    return model


def _keep_fp32(graph: onnx.GraphProto, names: Sequence[str]) -> None:
    """Prevent ONNX Runtime from quantizing the layers `names` when it loads the file.

    If a float convolution stands between DequantizeLinear and QuantizeLinear, ONNX Runtime's optimizer
    `WeightBiasQuantization` quantizes its weights, by their minimum and maximum. A node x = max(x, x) in
    between prevents that, and no optimizer removes this node.
    """
    dequantized = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    for node in [node for node in graph.node if node.name in names and node.input[0] in dequantized]:
        source, held = node.input[0], f"{node.name}_held"
        position = next(index for index, other in enumerate(graph.node) if other.name == node.name)
        graph.node.insert(position, onnx.helper.make_node("Max", [source, source], [held], name=held))
        next(other for other in graph.node if other.name == node.name).input[0] = held


def _tensors_data(ranges: Mapping[str, Range]) -> TensorsData:
    """Convert ranges to the class that ONNX Runtime has for them."""
    pairs = {name: (np.float32(low), np.float32(high)) for name, (low, high) in ranges.items()}
    data = {
        name: (np.asarray(low).reshape(1), np.asarray(high).reshape(1)) for name, (low, high) in pairs.items()
    }
    return TensorsData(CalibrationMethod.MinMax, data)


@contextlib.contextmanager
def _work_folder(parent: Path) -> Iterator[Path]:
    """Create a folder for all files of the quantizer, also for those of the system's temporary folder.

    Its name marks it as unfinished, so that `remove_partial` removes what a killed process leaves.
    """
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory(prefix=".int8-", suffix=PARTIAL, dir=parent) as folder:
        tempfile.tempdir = folder
        try:
            yield Path(folder)
        finally:
            tempfile.tempdir = before
