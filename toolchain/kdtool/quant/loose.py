"""INT8 of any ONNX classifier, without a run."""

from __future__ import annotations

from pathlib import Path

from kdtool.core.errors import GateError
from kdtool.core.files import durable
from kdtool.core.modelinfo import ModelInfo
from kdtool.core.preprocess import Preprocess
from kdtool.core.screen import Screen
from kdtool.data.reader import Split
from kdtool.machine.cpu import int8_target
from kdtool.quant.accuracy import Accuracy, top1
from kdtool.quant.calibration.images import CalibrationImages
from kdtool.quant.calibration.observe import EXTENT_ONLY, observe
from kdtool.quant.maker import Choice, Maker
from kdtool.quant.sensitivity import fewer_and_fewer, rank_layers
from kdtool.quant.target import Int8Recipe, int8_recipe
from kdtool.recipe.settings import QuantizeSettings
from kdtool.runtime.onnxruntime import open_model

Measured = tuple[Accuracy, Accuracy]  # before and after


def quantize_file(
    source: Path,
    target: Path,
    info: ModelInfo,
    images: CalibrationImages,
    validation: Split | None,
    settings: QuantizeSettings,
    screen: Screen,
) -> tuple[Int8Recipe, Measured | None, tuple[str, ...]]:
    """Write the INT8 model of the float32 ONNX file `source` to `target`.

    Args:
        info: what the file says of itself, or what is known of it.
        validation: images with labels, none of them among `images`; None: the accuracy is not guarded.
        settings: all but search and finetune, which a run alone has.

    Returns:
        How it is quantized, the accuracy before and after, and the names of the layers that stay float.

    Raises:
        ModelFileError: the file is broken, or cannot be calibrated or quantized.
        GateError: INT8 loses more than `settings.max_drop`; nothing is written.
    """
    here = int8_target()
    recipe = int8_recipe(here if settings.target == "auto" else settings.target, settings.reduce_range)
    screen.say(f"quantize: for {recipe.target}: {recipe} ({recipe.reason})")
    if recipe.target != here:
        screen.warn(f"The INT8 model is made for {recipe.target}, this machine is {here}: measure it there.")
    count = settings.calibration not in EXTENT_ONLY
    with screen.bar("quantize", (1 + count) * len(images)) as bar:
        maker = Maker(source, info, observe(source, images, count, bar), images)
    choice, accuracy = Choice(recipe, settings.calibration), None
    with durable(target) as partial:
        maker.write(partial, choice)
        if validation is not None:
            before = _accuracy(source, validation, info.preprocess)
            after = _accuracy(partial, validation, info.preprocess)
            if _lost(before, after) > settings.max_drop and settings.float_layers:
                ranked = rank_layers(maker, choice, partial, screen)
                for attempt, layer in fewer_and_fewer(ranked, settings.float_layers, choice):
                    maker.write(partial, attempt)
                    choice, after = attempt, _accuracy(partial, validation, info.preprocess)
                    screen.say(f"quantize: {layer.name} back to float; accuracy {after}")
                    if _lost(before, after) <= settings.max_drop:
                        break
            _require_kept(source, before, after, settings.max_drop)
            accuracy = before, after
    screen.say(f"quantize: {target}, {_size(source):.1f} → {_size(target):.1f} MB; {_in_words(accuracy)}")
    return recipe, accuracy, choice.floats


def _accuracy(path: Path, split: Split, preprocess: Preprocess) -> Accuracy:
    session = open_model(path)
    try:
        return top1(session, split, preprocess)
    finally:
        session.close()


def _lost(before: Accuracy, after: Accuracy) -> float:
    """Percentage points."""
    return 100 * (before.correct - after.correct) / before.images


def _require_kept(source: Path, before: Accuracy, after: Accuracy, max_drop: float) -> None:
    lost = _lost(before, after)
    if lost > max_drop:
        raise GateError(
            f"{source}: INT8 loses {lost:.2f} percentage points of accuracy ({before} → {after} of "
            f"{before.images} images), allowed is {max_drop:g} (max_drop).",
            "Try another calibration, more photographs, or a larger max_drop; or ship the float32 model.",
        )


def _size(path: Path) -> float:
    return path.stat().st_size / 1e6


def _in_words(accuracy: Measured | None) -> str:
    if accuracy is None:
        return "its accuracy is not measured, for want of labels"
    before, after = accuracy
    return f"accuracy {before} → {after} ({after.points - before.points:+.2f} points, {before.images} images)"
