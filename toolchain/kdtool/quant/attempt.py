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
    """What is the same for every model of a run; `on_target`: this machine is of the scheme's target."""

    run: RunFolder
    prepared: Prepared
    settings: QuantizeSettings
    scheme: Int8Scheme
    on_target: bool
    screen: Screen


@dataclass(frozen=True)
class Attempt:
    """An INT8 model as it was made: in a temporary file, before anybody has judged it.

    Attributes:
        before, after: validation accuracy of the run's float model and of the INT8 model.
        fp32_layers: layers that are kept in FP32 because INT8 lost too much.
    """

    maker: Maker
    choice: Choice
    before: Accuracy
    after: Accuracy
    searched: Search | None = None
    fp32_layers: tuple[Layer, ...] = ()

    @property
    def lost(self) -> float:
        """Percentage points of accuracy; counted in images, so that a limit is met exactly."""
        return 100 * (self.before.correct - self.after.correct) / self.before.images


def calibrated(context: JobContext, role: str, source: Path, partial: Path) -> Attempt:
    """The INT8 model of the run's float model `source`, by the settings or the best that a search finds."""
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
    context: JobContext, role: str, before: Attempt, finetuned: Path, partial: Path
) -> Attempt:
    """The attempt from `finetuned`, a float file, where that answers better; otherwise the one before.

    A fine-tuned model says so in its notes, since its answers are no longer those of the run's float file.
    """
    settings, validation = context.settings, context.prepared.split("validation")
    info = measure_accuracy(finetuned, validation)[1]
    epochs = f"{settings.finetune} epoch{'' if settings.finetune == 1 else 's'}"
    maker = _maker(context, role, finetuned, replace(info, notes={**info.notes, FINETUNED: epochs}))
    maker.write(partial, before.choice)
    after, _ = measure_accuracy(partial, validation)
    if after.correct > before.after.correct:
        return replace(before, maker=maker, after=after)
    context.screen.say(
        f"{NAME}: {role}: fine-tuned for INT8 it answers {after} rightly, before {before.after}: "
        f"what was before is kept"
    )
    before.maker.write(partial, before.choice)
    return before


def with_fp32_layers(
    attempt: Attempt, validation: Split, settings: QuantizeSettings, partial: Path, title: str, screen: Screen
) -> Attempt:
    """Keep the most sensitive layers in FP32, one more at a time, until the limit is met.

    Args:
        partial: the file of the attempt, which is written again.
        title: what lines on the screen begin with.
    """
    screen.say(
        f"{title}: INT8 loses {attempt.lost:.2f} points, allowed is {settings.max_drop:g}; "
        f"looking for the layers at fault"
    )
    ranked = rank_layers(attempt.maker, attempt.choice, partial, screen)
    for choice, layer in more_and_more_fp32(ranked, settings.float_layers, attempt.choice):
        attempt.maker.write(partial, choice)
        after, _ = measure_accuracy(partial, validation)
        screen.say(
            f"{title}: {layer.name} ({layer.op}, {layer.sqnr:.1f} dB) back to float; "
            f"validation accuracy {after}"
        )
        attempt = replace(attempt, choice=choice, after=after, fp32_layers=(*attempt.fp32_layers, layer))
        if attempt.lost <= settings.max_drop:
            break
    return attempt


def _maker(context: JobContext, role: str, source: Path, info: ModelInfo) -> Maker:
    """A maker that has observed the float model `source` on the calibration images."""
    prepared, settings = context.prepared, context.settings
    train = prepared.split("train")
    # The subset is a function of the data alone: the digest is the seed.
    chosen = calibration_indices(train.labels, settings.calibration_images, int(prepared.digest[:8], 16))
    images = CalibrationImages(train.images, chosen, info.preprocess)
    count = settings.search or settings.calibration not in WITHOUT_COUNTS
    with context.screen.bar(f"{NAME} {role}", (1 + count) * len(chosen)) as bar:
        histograms = observe(source, images, count, bar)
    return Maker(source, info, histograms, images)


def _headline(role: str, found: Search, on_target: bool) -> str:
    timed = (
        f", {ROUNDS} rounds of latency in turns on {this_machine()}"
        if on_target
        else f", no latency: this machine, {this_machine()}, is of another kind"
    )
    return (
        f"{NAME}: {role}: searched {len(found.trials)} INT8 models, {found.images} validation images{timed}"
    )
