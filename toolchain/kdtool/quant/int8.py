"""Static INT8 by ONNX Runtime's quantizer, as QDQ: Quantize/DequantizeLinear around float operators.

Every runtime reads QDQ; ONNX Runtime fuses it into integer operators when it loads the file. Ranges
are the minimum and maximum of each activation. That calibrator keeps two numbers a tensor and batch,
so memory does not grow with the images (its option `CalibMaxIntermediateOutputs` is not used: it
throws away what it has seen).
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import onnx
from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

from kdtool.core.errors import ModelFileError
from kdtool.core.files import PARTIAL
from kdtool.core.quiet import quietly
from kdtool.core.text import cause_of
from kdtool.quant.calibrate import CalibrationImages
from kdtool.quant.target import Int8Recipe

TYPES = {"uint8": QuantType.QUInt8, "int8": QuantType.QInt8}
# Of a transformer, the products alone: softmax, layer norm and the residual stream have ranges too wide
# for 8 bits. DeiT-Tiny (random weights, 96 pixels): logits at 26 dB signal to noise, 4 dB with everything.
PRODUCTS = ("Conv", "Gemm", "MatMul")
TRANSFORMER = "LayerNormalization"


def quantize_to_int8(source: Path, images: CalibrationImages, recipe: Int8Recipe) -> onnx.ModelProto:
    """The INT8 model of the float32 ONNX file `source`; equal inputs give equal models.

    Raises:
        ModelFileError: the quantizer cannot handle the graph.
    """
    products_only = any(node.op_type == TRANSFORMER for node in onnx.load(source).graph.node)
    with _workplace(source.parent) as folder:
        # A copy, since the quantizer writes beside the file that it reads.
        given, target = Path(shutil.copyfile(source, folder / "float.onnx")), folder / "int8.onnx"
        try:
            with quietly():
                quantize_static(
                    given,
                    target,
                    images,
                    quant_format=QuantFormat.QDQ,
                    op_types_to_quantize=list(PRODUCTS) if products_only else None,
                    per_channel=recipe.per_channel,
                    reduce_range=recipe.reduce_range,
                    activation_type=TYPES[recipe.activation],
                    weight_type=TYPES[recipe.weight],
                    calibrate_method=CalibrationMethod.MinMax,
                    extra_options={"ActivationSymmetric": recipe.symmetric, "WeightSymmetric": True},
                )
        except OSError:
            raise
        except Exception as error:  # the quantizer raises whatever the graph leads it to
            raise ModelFileError(
                f"{source}: ONNX Runtime cannot quantize it ({type(error).__name__}: {cause_of(error)}).",
                "Ship the float32 model (kdtool bench measures it), or try another network: --student NAME",
            ) from error
        return onnx.load(target)


@contextlib.contextmanager
def _workplace(parent: Path) -> Iterator[Path]:
    """A folder for all that the quantizer writes, what it would put into the system's own included.

    Its name marks it as unfinished: a process that is killed leaves it to `remove_partial`.
    """
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory(prefix=".int8-", suffix=PARTIAL, dir=parent) as folder:
        tempfile.tempdir = folder
        try:
            yield Path(folder)
        finally:
            tempfile.tempdir = before
