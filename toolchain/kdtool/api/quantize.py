"""Quantize an ONNX classifier from anywhere to INT8."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from kdtool.core.errors import DataError, UsageError
from kdtool.core.preprocess import Preprocess
from kdtool.core.spelling import Caller, argument, assigned, called_from
from kdtool.machine.terminal import screen_of

if TYPE_CHECKING:
    from kdtool.api.images import AnyImage


@dataclass(frozen=True)
class Quantized:
    """An INT8 file, with accuracy and size before and after.

    Attributes:
        path: the INT8 file.
        target: kind of processor that the file is made for.
        accuracy_before, accuracy_after: top-1 of the float32 file and of the INT8 file on the same images;
            None if the images have no labels.
        images: number of images that the accuracy was measured on.
        size_before, size_after: size of the float32 file and of the INT8 file, bytes.
        float_layers: names of the layers kept in FP32, since INT8 would lose too much accuracy in them.
        notes: sentences that say why the accuracy is doubtful.

    Example:
        quantized = kdtool.quantize("student.onnx", "photographs/")
        quantized.path, quantized.accuracy_before, quantized.accuracy_after
    """

    path: Path
    target: str
    accuracy_before: float | None
    accuracy_after: float | None
    images: int
    size_before: int
    size_after: int
    float_layers: tuple[str, ...]
    notes: tuple[str, ...] = ()


@called_from(Caller.FUNCTION)
def quantize(
    model: str | Path,
    images: str | Path | Iterable[AnyImage],
    *,
    out: str | Path | None = None,
    target: str = "auto",
    calibration: str = "minmax",
    calibration_images: int = 256,
    max_drop: float = 1.0,
    float_layers: int = 3,
    reduce_range: bool | Literal["auto"] = "auto",
    labels: Sequence[str | int] | None = None,
    classes: Sequence[str] | None = None,
    preprocess: Preprocess | None = None,
    quiet: bool = False,
) -> Quantized:
    """Quantize an ONNX classifier to INT8, and guard its accuracy if the images have labels.

    The images of the training split calibrate the ranges, those of the validation split measure the accuracy;
    the test split is not used. Without splits, at most half of the images calibrate, evenly from every class,
    and all others measure; the model must not have been trained on these. If INT8 loses more than `max_drop`,
    the most sensitive layers are kept in FP32.

    Args:
        model: a float32 ONNX file with the input (N, 3, S, S).
        images: a folder of class folders or another source of photographs that `kdtool.run` takes; a folder
            of photographs without classes; or paths, bytes, PIL images, or arrays (H, W, 3) of uint8.
        out: file to write, not a model of a run; None is MODEL.int8.onnx beside the model.
        target: the processor that will run the model: auto (this one), x86-avx2, x86-vnni, arm-dotprod, arm
            or web.
        calibration: method that chooses the ranges of activations: minmax, percentile, entropy or mse.
        calibration_images: largest number of images to calibrate on.
        max_drop: largest loss of accuracy, percentage points.
        float_layers: largest number of layers that may be kept in FP32.
        reduce_range: use weights of 7 bits; "auto" lets the target decide.
        labels: class of each image, by name or number; a folder of class folders states them already.
        classes: names in the order of the logits, for a file that does not state them.
        preprocess: preprocessing of a photograph, for a file that does not state it.
        quiet: print nothing on standard error.

    Raises:
        UsageError: an argument is wrong, or classes and preprocess are not known.
        DataError: an image cannot be read, or the model does not know its class.
        ModelFileError: the file is broken, or ONNX Runtime cannot quantize it.
        GateError: INT8 loses more than `max_drop`; no file is written.

    Example:
        kdtool.quantize("student.onnx", "photographs/", target="arm-dotprod", max_drop=0.5)
    """
    from kdtool.machine.packages import require_training

    require_training("quantize")
    from kdtool.api.arguments import checked_settings, model_info
    from kdtool.api.calibration import parts_of
    from kdtool.quant.images import CalibrationImages
    from kdtool.quant.loose import quantize_file
    from kdtool.recipe.settings import QuantizeSettings
    from kdtool.runs.models import run_of_model
    from kdtool.runtime.onnxruntime import open_model
    from kdtool.runtime.signature import InputFormat

    settings = checked_settings(
        QuantizeSettings,
        target=target,
        calibration=calibration,
        calibration_images=calibration_images,
        max_drop=max_drop,
        float_layers=float_layers,
        reduce_range=reduce_range,
    )
    source = Path(model)
    target_file = Path(out) if out is not None else source.with_suffix(".int8.onnx")
    if target_file.resolve() == source.resolve():
        raise UsageError(
            f"{argument('out')}: {target_file} is the model itself.",
            f"Name another file: {assigned({'out': ...})}",
        )
    run = run_of_model(target_file)
    if run is not None:
        raise UsageError(
            f"{argument('out')}: {target_file} is a model of the run {run.path}.",
            f"Quantize the run instead: kdtool quantize {run.path}, or name another file: "
            f"{assigned({'out': ...})}",
        )
    session = open_model(source)
    session.close()
    info = model_info(source, session.info, classes, preprocess)
    if session.input_format != InputFormat() or info.precision != "fp32":
        raise UsageError(
            f"{source}: {info.precision}, input {session.input_format.type} {session.input_format.layout}; "
            "allowed: fp32, input float32 NCHW.",
            "Name the float32 file that this file was made from.",
        )
    screen = screen_of(quiet)
    parts = parts_of(images, labels, source, info, calibration_images, screen)
    if not len(parts.chosen):
        raise DataError(
            "There is one image; quantization with labels needs two or more.", "Give more images."
        )
    calibration_set = CalibrationImages(parts.pixels, parts.chosen, info.preprocess)
    result = quantize_file(source, target_file, info, calibration_set, parts.validation, settings, screen)
    before, after = result.before, result.after
    return Quantized(
        path=target_file,
        target=result.choice.scheme.target.value,
        accuracy_before=before.correct / before.images if before else None,
        accuracy_after=after.correct / after.images if after else None,
        images=before.images if before else 0,
        size_before=source.stat().st_size,
        size_after=target_file.stat().st_size,
        float_layers=result.choice.fp32_layers,
        notes=parts.notes,
    )
