"""Attempts at the INT8 model of a role: by calibration, from fine-tuned weights, with layers kept in FP32."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from kdtool.calibration.ranges import WITHOUT_COUNTS
from kdtool.core.modelinfo import FINETUNED, ModelInfo
from kdtool.core.screen import Screen
from kdtool.data.reader import Prepared, Split
from kdtool.quant.accuracy import Accuracy
from kdtool.quant.images import CalibrationImages, calibration_indices
from kdtool.quant.maker import Choice, Maker, measure_accuracy
from kdtool.quant.observe import observe
from kdtool.quant.search import Search, search
from kdtool.quant.sensitivity import Layer, more_and_more_fp32, rank_layers
from kdtool.quant.speed import ROUNDS, this_machine
from kdtool.quant.target import Int8Scheme
from kdtool.recipe.settings import QuantizeSettings
from kdtool.runs.folder import RunFolder

NAME: Final = "quantize"


@dataclass(frozen=True)
class JobContext:
    """Inputs that all INT8 models of a run have in common.

    Attributes:
        on_target: True if this machine is of the kind that `scheme` is for.
    """

    run: RunFolder
    prepared: Prepared
    settings: QuantizeSettings
    scheme: Int8Scheme
    on_target: bool
    screen: Screen


@dataclass(frozen=True)
class Attempt:
    """An INT8 model in a temporary file, before it passes the accuracy gate.

    Attributes:
        before, after: validation accuracy of the run's FP32 model and of the INT8 model.
        searched: the search that found `choice`, if there was one.
        fp32_layers: layers that are kept in FP32 because INT8 lost too much.
    """

    maker: Maker
    choice: Choice
    before: Accuracy
    after: Accuracy
    searched: Search | None = None
    fp32_layers: tuple[Layer, ...] = ()

    @property
    def drop(self) -> float:
        """Loss of accuracy, percentage points."""
        return self.before.drop_to(self.after)

    def passes(self, max_drop: float) -> bool:
        """True if the loss is within the limit, and the INT8 model is of any use."""
        return self.drop <= max_drop and self.after.fault is None


def calibrated(context: JobContext, role: str, source: Path, partial: Path) -> Attempt:
    """Quantize the run's FP32 model `source`, by the settings or as the best model of a search."""
    settings, validation = context.settings, context.prepared.split("validation")
    before, info = measure_accuracy(source, validation)
    maker = _maker(context, role, source, info)
    choice, searched = Choice(context.scheme, settings.calibration), None
    if settings.search:
        searched = search(
            maker, context.scheme, validation, settings.max_drop, context.on_target, context.screen
        )
        choice = searched.kept.choice
        context.screen.say("\n".join([_headline(role, searched, context.on_target), *searched.table()]))
    maker.write(partial, choice)
    return Attempt(maker, choice, before, measure_accuracy(partial, validation)[0], searched)


def better_finetuned(
    context: JobContext, role: str, previous: Attempt, finetuned: Path, partial: Path
) -> Attempt:
    """Quantize the FP32 file `finetuned`; return that attempt if it is more accurate, otherwise `previous`.

    The notes of a fine-tuned model record the fine-tuning, because its logits are no longer those of the
    run's FP32 file.
    """
    settings, validation = context.settings, context.prepared.split("validation")
    info = measure_accuracy(finetuned, validation)[1]
    epochs = f"{settings.finetune} epoch{'' if settings.finetune == 1 else 's'}"
    maker = _maker(context, role, finetuned, replace(info, notes={**info.notes, FINETUNED: epochs}))
    maker.write(partial, previous.choice)
    after, _ = measure_accuracy(partial, validation)
    if after.correct > previous.after.correct:
        return replace(previous, maker=maker, after=after)
    context.screen.say(
        f"{NAME}: {role}: validation accuracy is {after} after fine-tuning for INT8 and {previous.after} "
        f"without it: the model without fine-tuning is kept"
    )
    previous.maker.write(partial, previous.choice)
    return previous


def with_fp32_layers(
    attempt: Attempt, validation: Split, settings: QuantizeSettings, partial: Path, title: str, screen: Screen
) -> Attempt:
    """Keep the most sensitive layers in FP32, one more at a time, until the limit is met.

    Args:
        partial: the file of the attempt, which is written again.
        title: the beginning of each line on the screen.
    """
    screen.say(
        f"{title}: INT8 loses {attempt.drop:.2f} percentage points, allowed is {settings.max_drop:g}; "
        f"looking for the most sensitive layers"
    )
    ranked = rank_layers(attempt.maker, attempt.choice, partial, screen)
    for choice, layer in more_and_more_fp32(ranked, settings.float_layers, attempt.choice):
        attempt.maker.write(partial, choice)
        after, _ = measure_accuracy(partial, validation)
        screen.say(
            f"{title}: {layer.name} ({layer.op}, {layer.sqnr:.1f} dB) is kept in FP32; "
            f"validation accuracy {after}"
        )
        attempt = replace(attempt, choice=choice, after=after, fp32_layers=(*attempt.fp32_layers, layer))
        if attempt.passes(settings.max_drop):
            break
    return attempt


def _maker(context: JobContext, role: str, source: Path, info: ModelInfo) -> Maker:
    """Observe the FP32 model `source` on the calibration images, for its INT8 models."""
    prepared, settings = context.prepared, context.settings
    train = prepared.split("train")
    # The digest of the data is the seed, so that equal data give equal subsets.
    indices = calibration_indices(train.labels, settings.calibration_images, int(prepared.digest[:8], 16))
    images = CalibrationImages(train.images, indices, info.preprocess)
    count = settings.search or settings.calibration not in WITHOUT_COUNTS
    with context.screen.bar(f"{NAME} {role}", (1 + count) * len(indices)) as bar:
        histograms = observe(source, images, count, bar)
    return Maker(source, info, histograms, images)


def _headline(role: str, searched: Search, on_target: bool) -> str:
    latency = (
        f"latency from {ROUNDS} rounds in turns on {this_machine()}"
        if on_target
        else f"no latency, because this machine, {this_machine()}, is of another kind"
    )
    return (
        f"{NAME}: {role}: searched {len(searched.trials)} INT8 models on {searched.images} validation "
        f"images; {latency}"
    )
