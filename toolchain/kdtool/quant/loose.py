"""Quantization of any ONNX classifier to INT8, without a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kdtool.calibration.ranges import WITHOUT_COUNTS
from kdtool.core.errors import GateError
from kdtool.core.files import durable
from kdtool.core.modelinfo import ModelInfo
from kdtool.core.screen import Screen
from kdtool.data.reader import Split
from kdtool.machine.cpu import int8_target
from kdtool.quant.accuracy import Accuracy, top1
from kdtool.quant.attempt import NAME, Attempt, with_fp32_layers
from kdtool.quant.images import CalibrationImages
from kdtool.quant.maker import Choice, Maker, measure_accuracy
from kdtool.quant.observe import observe
from kdtool.quant.target import int8_scheme
from kdtool.recipe.choices import Int8Target
from kdtool.recipe.settings import QuantizeSettings
from kdtool.results.figures import resized
from kdtool.runtime.onnxruntime import open_model


@dataclass(frozen=True)
class QuantizedFile:
    """Result of the quantization of a file.

    Attributes:
        choice: how the file was quantized.
        before, after: accuracy of the float32 file and of the INT8 file; None if no image has a label.
    """

    choice: Choice
    before: Accuracy | None = None
    after: Accuracy | None = None


def quantize_file(
    source: Path,
    target: Path,
    info: ModelInfo,
    images: CalibrationImages,
    validation: Split | None,
    settings: QuantizeSettings,
    screen: Screen,
) -> QuantizedFile:
    """Write the INT8 model of the float32 ONNX file `source` to `target`.

    Args:
        info: the record in the file, or that of the caller.
        validation: images with labels, none of them among `images`; None: the accuracy is not measured.
        settings: search and finetune are ignored, because they need a run.

    Raises:
        ModelFileError: the file is broken, or it cannot be calibrated or quantized.
        GateError: INT8 loses more than `settings.max_drop`; nothing is written.
    """
    this_kind = int8_target()
    kind = this_kind if settings.target == Int8Target.AUTO else settings.target
    scheme = int8_scheme(kind, settings.reduce_range)
    screen.say(f"{NAME}: for {kind}: {scheme} ({scheme.reason})")
    if kind != this_kind:
        screen.warn(f"The INT8 model is made for {kind}, but this machine is {this_kind}: measure it there.")
    count = settings.calibration not in WITHOUT_COUNTS
    with screen.bar(NAME, (1 + count) * len(images)) as bar:
        histograms = observe(source, images, count, bar)
    maker = Maker(source, info, histograms, images, "calibration images")
    quantized = QuantizedFile(Choice(scheme, settings.calibration))
    with durable(target) as partial:
        maker.write(partial, quantized.choice)
        if validation is not None:
            before = _accuracy(source, validation, info)
            after, _ = measure_accuracy(partial, validation)
            attempt = Attempt(maker, quantized.choice, before, after)
            if before.fault:
                screen.warn(f"{source}: the model is of no use on these photographs: {before.fault}.")
            if attempt.drop > settings.max_drop and settings.float_layers:
                attempt = with_fp32_layers(attempt, validation, settings, partial, NAME, screen)
            _require_small_drop(source, attempt, settings.max_drop)
            quantized = QuantizedFile(attempt.choice, before, attempt.after)
    sizes = resized(source.stat().st_size, target.stat().st_size)
    screen.say(f"{NAME}: {target}, {sizes}; {_in_words(quantized)}")
    return quantized


def _accuracy(source: Path, split: Split, info: ModelInfo) -> Accuracy:
    session = open_model(source)
    try:
        return top1(session, split, info.preprocess)
    finally:
        session.close()


def _require_small_drop(source: Path, attempt: Attempt, max_drop: float) -> None:
    if attempt.drop > max_drop:
        raise GateError(
            f"{source}: INT8 loses {attempt.drop:.2f} percentage points of accuracy ({attempt.before} → "
            f"{attempt.after} of {attempt.before.images} images), allowed is {max_drop:g} (max_drop).",
            "Try another calibration, more photographs, or a larger max_drop; or ship the float32 model.",
        )


def _in_words(quantized: QuantizedFile) -> str:
    before, after = quantized.before, quantized.after
    if before is None or after is None:
        return "the accuracy is not measured, because no image has a label"
    gain = after.percent - before.percent
    return f"accuracy {before} → {after} ({gain:+.2f} percentage points, {before.images} images)"
