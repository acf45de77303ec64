"""INT8 of an ONNX classifier from anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from kdtool.core.errors import DataError, UsageError
from kdtool.core.preprocess import Preprocess
from kdtool.machine.terminal import screen_of

if TYPE_CHECKING:
    from kdtool.api.images import AnyImage


@dataclass(frozen=True)
class Quantized:
    """An INT8 file and what it cost.

    Attributes:
        path: the INT8 file.
        target: the kind of processor that it is made for.
        accuracy_before, accuracy_after: top-1 of the float32 file and of the INT8 file on the same `images`
            images; None where the images have no labels.
        images: how many images the accuracy was measured on.
        size_before, size_after: bytes.
        float_layers: names of the layers that are kept in FP32, since INT8 cost too much in them.

    Example:
        made = kdtool.quantize("student.onnx", "photographs/")
        made.path, made.accuracy_before, made.accuracy_after
    """

    path: Path
    target: str
    accuracy_before: float | None
    accuracy_after: float | None
    images: int
    size_before: int
    size_after: int
    float_layers: tuple[str, ...]


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
    """Quantize an ONNX classifier to INT8, its accuracy guarded where the images have labels.

    Images of the training split calibrate, those of the validation split measure the accuracy; the test split
    is not touched. Without splits, at most half of the images calibrate, evenly from every class, and all
    others measure. Where INT8 loses more than `max_drop`, the most sensitive layers are kept in FP32.

    Args:
        model: a float32 ONNX file, (N, 3, S, S).
        images: a folder of class folders or another source of photographs as `kdtool.run` takes it; a folder
            of photographs without classes; or paths, bytes, PIL images, or arrays (H, W, 3) of uint8.
        out: the file to write; None is MODEL.int8.onnx beside the model.
        target: the processor that will run the model: auto (this one), x86-avx2, x86-vnni, arm-dotprod, arm
            or web.
        calibration: how ranges follow from the values seen: minmax, percentile, entropy or mse.
        calibration_images: images to calibrate on, at most.
        max_drop: largest loss of accuracy, percentage points.
        float_layers: layers that may be kept in FP32, at most.
        reduce_range: weights of 7 bits; "auto" is the choice of the target.
        labels: class of each image, by name or number; a folder of class folders has its own.
        classes: names in the order of the logits, for a file that does not state them.
        preprocess: of a photograph, for a file that does not state it.
        quiet: say nothing on standard error.

    Raises:
        UsageError: an argument is wrong, or classes and preprocess are not known.
        DataError: images that cannot be read, or of a class that the model does not know.
        ModelFileError: the file is broken, or ONNX Runtime cannot quantize it.
        GateError: INT8 loses more than `max_drop`; nothing is written.

    Example:
        kdtool.quantize("student.onnx", "photographs/", target="arm-dotprod", max_drop=0.5)
    """
    from kdtool.machine.packages import require_training

    require_training("quantize")
    from kdtool.api.calibration import parts_of
    from kdtool.api.stated import checked, stated
    from kdtool.quant.images import CalibrationImages
    from kdtool.quant.loose import quantize_file
    from kdtool.recipe.settings import QuantizeSettings
    from kdtool.runtime.onnxruntime import open_model
    from kdtool.runtime.signature import InputFormat

    settings = checked(
        QuantizeSettings,
        target=target,
        calibration=calibration,
        calibration_images=calibration_images,
        max_drop=max_drop,
        float_layers=float_layers,
        reduce_range=reduce_range,
    )
    source = Path(model)
    written = Path(out) if out is not None else source.with_suffix(".int8.onnx")
    if written.resolve() == source.resolve():
        raise UsageError(f"out: {written} is the model itself.", "Name another file: out=…")
    session = open_model(source)
    session.close()
    info = stated(source, session.info, classes, preprocess)
    if session.input_format != InputFormat() or info.precision != "fp32":
        raise UsageError(
            f"{source}: {info.precision}, input {session.input_format.type} {session.input_format.layout}; "
            "allowed: fp32, input float32 NCHW.",
            "Name the float32 file that it was made from.",
        )
    screen = screen_of(quiet)
    pixels, chosen, validation = parts_of(images, labels, info, calibration_images, screen)
    if not len(chosen):
        raise DataError("There is one image; quantization takes 2 and more.", "Give more images.")
    seen = CalibrationImages(pixels, chosen, info.preprocess)
    made = quantize_file(source, written, info, seen, validation, settings, screen)
    before, after = made.before, made.after
    return Quantized(
        path=written,
        target=made.choice.scheme.target.value,
        accuracy_before=before.correct / before.images if before else None,
        accuracy_after=after.correct / after.images if after else None,
        images=before.images if before else 0,
        size_before=source.stat().st_size,
        size_after=written.stat().st_size,
        float_layers=made.choice.fp32_layers,
    )
