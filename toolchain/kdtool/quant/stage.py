"""The stage quantize: INT8 of teacher and student, through the accuracy gate."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from kdtool.core.errors import GateError, UsageError
from kdtool.core.files import durable, sha256_file
from kdtool.core.modelinfo import FINETUNED, ModelInfo
from kdtool.core.screen import Screen
from kdtool.data.reader import Prepared
from kdtool.machine.cpu import INT8_WORTH_IT, int8_target
from kdtool.machine.versions import versions_of
from kdtool.quant.accuracy import Accuracy
from kdtool.quant.calibration.images import CalibrationImages, calibration_indices
from kdtool.quant.calibration.observe import EXTENT_ONLY, observe
from kdtool.quant.calibration.ranges import REVISION
from kdtool.quant.maker import PRECISION, VERSIONS, Choice, Maker, measure_accuracy
from kdtool.quant.search import Search, search
from kdtool.quant.sensitivity import Layer, fewer_and_fewer, rank_layers
from kdtool.quant.speed import ROUNDS, Speed, speed_of, take_turns, this_machine
from kdtool.quant.target import WEB, Int8Recipe, int8_recipe
from kdtool.recipe.settings import QuantizeSettings
from kdtool.runs.folder import RunFolder
from kdtool.runs.lineage import require_current
from kdtool.runs.models import sealed_models
from kdtool.runs.stage import Stage
from kdtool.runtime.onnxruntime import open_model

NAME: Final = "quantize"
ROLES = ("teacher", "student")
REFINED = "student"
Refine = Callable[[Int8Recipe], Path]  # the float ONNX file of a student fine-tuned for a recipe


@dataclass(frozen=True)
class Task:
    """What is the same for every model of a run; `here`: this machine is of the recipe's target."""

    run: RunFolder
    prepared: Prepared
    settings: QuantizeSettings
    recipe: Int8Recipe
    here: bool
    screen: Screen
    refine: Refine | None


class TooLossyError(Exception):
    """An INT8 model that must not be written."""

    def __init__(self, path: Path, before: Accuracy, after: Accuracy) -> None:
        super().__init__(path)
        self.path, self.before, self.after = path, before, after
        self.lost = _lost(before, after)


def quantize_models(
    run: RunFolder,
    prepared: Prepared,
    settings: QuantizeSettings,
    screen: Screen,
    refine: Refine | None = None,
) -> dict[str, Any]:
    """Write `run.onnx_model(role, "int8")` of teacher and student; returns the facts of each, by role.

    Calibrated on images of the training split; accuracy before and after is that on the validation
    split. A model is skipped if it was done before with the same float model, data, settings and kind
    of processor; one that fails its gate does not cost the other.

    Args:
        refine: makes the student anew for INT8, where calibration alone loses too much.

    Raises:
        UsageError: the models are not exported yet, or are of older weights.
        GateError: models lose more accuracy than `settings.max_drop` (all are named); their files are
            not written.
    """
    require_current(run, NAME)
    roles = _exported_roles(run)
    here = int8_target()
    recipe = int8_recipe(here if settings.target == "auto" else settings.target, settings.reduce_range)
    task = Task(run, prepared, settings, recipe, recipe.target == here, screen, refine)
    screen.say(f"{NAME}: for {recipe.target}: {recipe} ({recipe.reason})")
    if not task.here:
        screen.warn(
            f"The INT8 models are made for {recipe.target}, this machine is {here}: the accuracy measured "
            f"here may be another there, and no speed is measured. Measure both there: "
            f"{_measure(recipe.target)}"
        )
    facts: dict[str, Any] = {}
    failed: list[TooLossyError] = []
    for role in roles:
        try:
            facts[role] = _quantize(task, role)
        except TooLossyError as error:
            failed.append(error)
    if failed:
        raise _gate_error(failed, settings)
    return facts


def _quantize(task: Task, role: str) -> dict[str, Any]:
    target = task.run.onnx_model(role, PRECISION)
    stage = Stage(
        name=NAME,
        folder=task.run.onnx,
        inputs={
            "settings": task.settings.model_dump(mode="json"),
            "data": task.prepared.digest,
            "versions": versions_of(VERSIONS),
            "model": sha256_file(task.run.onnx_model(role)),
            "recipe": str(task.recipe),
            "ranges": REVISION,
        },
        manifest_name=task.run.quantize_manifest(role).name,
    )
    done = stage.complete()
    if done is not None:
        task.screen.say(f"{NAME}: {role}: complete, skipped")
        facts = dict(done.result)
    else:
        stage.reopen()
        target.unlink(missing_ok=True)
        facts = _write(task, role, target)
        stage.seal([target.name], facts, versions_of(VERSIONS))
    _judge_speed(task, role, Speed.from_json(facts["speed"]) if facts["speed"] else None)
    return facts


def _write(task: Task, role: str, target: Path) -> dict[str, Any]:
    source, prepared, settings = task.run.onnx_model(role), task.prepared, task.settings
    validation = prepared.split("validation")
    before, info = measure_accuracy(source, validation)
    maker = _maker(task, role, source, info)
    with durable(target) as partial:
        choice, searched = Choice(task.recipe, settings.calibration), None
        if settings.search:
            searched = search(maker, task.recipe, validation, settings.max_drop, task.here, task.screen)
            choice = searched.kept.choice
            task.screen.say("\n".join([_headline(role, searched, task.here), *searched.table()]))
        maker.write(partial, choice)
        after, _ = measure_accuracy(partial, validation)
        if task.refine and role == REFINED:
            maker, after = _with_finetuning(task, task.refine, maker, choice, before, after, partial)
        floats: tuple[Layer, ...] = ()
        if _lost(before, after) > settings.max_drop and settings.float_layers:
            floats, after = _with_float_layers(task, role, maker, choice, before, after, partial)
        if _lost(before, after) > settings.max_drop:
            raise TooLossyError(target, before, after)
        speed = _speed(source, partial, maker.images, task) if task.here else None
    finetuned = maker.info.notes.get(FINETUNED)
    tuned = f", fine-tuned ({finetuned})" if finetuned else ""
    task.screen.say(
        f"{NAME}: {target}{tuned}, {source.stat().st_size / 1e6:.1f} → {target.stat().st_size / 1e6:.1f} MB; "
        f"validation accuracy {before} → {after} ({after.points - before.points:+.2f} points, "
        f"{before.images} images) on {this_machine()}"
    )
    recipe = choice.recipe
    facts: dict[str, Any] = {
        "accuracy_before": before.points / 100,
        "accuracy_after": after.points / 100,
        "n_images": before.images,
        "measured_on": this_machine(),
        "calibration": choice.method,
        "calibration_images": len(maker.images),
        "size_bytes": target.stat().st_size,
        "recipe": {"target": recipe.target, "description": str(recipe), "reason": recipe.reason},
        "float_layers": [layer.name for layer in floats],
        "put_back": [asdict(layer) for layer in floats],
        "finetuned": finetuned is not None,
        "finetuning": finetuned,
        "speed": speed.to_json() if speed is not None else None,
    }
    if searched is not None:
        facts["search"] = [trial.to_json() for trial in searched.trials]
    return facts


def _maker(task: Task, role: str, source: Path, info: ModelInfo) -> Maker:
    """Watches the float model on the calibration images."""
    prepared, settings = task.prepared, task.settings
    train = prepared.split("train")
    # The subset is a function of the data alone: the digest is the seed.
    chosen = calibration_indices(train.labels, settings.calibration_images, int(prepared.digest[:8], 16))
    images = CalibrationImages(train.images, chosen, info.preprocess)
    count = settings.search or settings.calibration not in EXTENT_ONLY
    with task.screen.bar(f"{NAME} {role}", (1 + count) * len(chosen)) as bar:
        histograms = observe(source, images, count, bar)
    return Maker(source, info, histograms, images)


def _with_finetuning(
    task: Task,
    refine: Refine,
    maker: Maker,
    choice: Choice,
    before: Accuracy,
    after: Accuracy,
    partial: Path,
) -> tuple[Maker, Accuracy]:
    """The student fine-tuned for INT8, where it loses too much and becomes better by that; else as it was.

    What was fine-tuned says so in its notes, since its answers are no longer those of the float file.
    """
    settings, screen, lost = task.settings, task.screen, _lost(before, after)
    if lost <= settings.max_drop:
        screen.say(
            f"{NAME}: {REFINED}: fine-tuning: not needed, INT8 loses {max(lost, 0.0):.2f} points, allowed is "
            f"{settings.max_drop:g}"
        )
        return maker, after
    screen.say(
        f"{NAME}: {REFINED}: INT8 loses {lost:.2f} points, allowed is {settings.max_drop:g}; "
        f"fine-tuning for INT8"
    )
    validation = task.prepared.split("validation")
    refined = refine(choice.recipe)
    _, info = measure_accuracy(refined, validation)
    epochs = f"{settings.finetune} epoch{'' if settings.finetune == 1 else 's'}"
    tuner = _maker(task, REFINED, refined, replace(info, notes={**info.notes, FINETUNED: epochs}))
    tuner.write(partial, choice)
    tuned, _ = measure_accuracy(partial, validation)
    if tuned.correct > after.correct:
        return tuner, tuned
    screen.say(
        f"{NAME}: {REFINED}: fine-tuned for INT8 it answers {tuned} rightly, before {after}: "
        f"what was before is kept"
    )
    maker.write(partial, choice)
    return maker, after


def _with_float_layers(
    task: Task,
    role: str,
    maker: Maker,
    choice: Choice,
    before: Accuracy,
    after: Accuracy,
    partial: Path,
) -> tuple[tuple[Layer, ...], Accuracy]:
    """Put the most sensitive layers back to float, one more at a time, until the limit is met."""
    settings, screen = task.settings, task.screen
    screen.say(
        f"{NAME}: {role}: INT8 loses {_lost(before, after):.2f} points, allowed is {settings.max_drop:g}; "
        f"looking for the layers at fault"
    )
    ranked = rank_layers(maker, choice, partial, screen)
    floats: list[Layer] = []
    for attempt, layer in fewer_and_fewer(ranked, settings.float_layers, choice):
        maker.write(partial, attempt)
        after, _ = measure_accuracy(partial, task.prepared.split("validation"))
        screen.say(
            f"{NAME}: {role}: {layer.name} ({layer.op}, {layer.sqnr:.1f} dB) back to float; "
            f"validation accuracy {after}"
        )
        floats.append(layer)
        if _lost(before, after) <= settings.max_drop:
            break
    return tuple(floats), after


def _speed(source: Path, quantized: Path, images: CalibrationImages, task: Task) -> Speed:
    """INT8 against float32 on this machine."""
    sessions = [open_model(source), open_model(quantized)]
    try:
        times = take_turns(sessions, images.first(1), task.screen)
        return speed_of(times[:, 0], times[:, 1], sessions[0].threads)
    finally:
        for session in sessions:
            session.close()


def _judge_speed(task: Task, role: str, speed: Speed | None) -> None:
    """Say whether INT8 pays, also where the model was made before."""
    path, target = task.run.onnx_model(role, PRECISION), task.recipe.target
    if speed is None:
        task.screen.say(
            f"{NAME}: {role}: made for {target} on another kind of processor, so nothing is said of its "
            f"speed. Measure it there: {_measure(target)}"
        )
        return
    elsewhere = speed.machine != this_machine()
    measure = f" This machine is {this_machine()}: kdtool bench {task.run.path}" if elsewhere else ""
    if speed.worth_it:
        task.screen.say(f"{NAME}: {role}: INT8 is {speed}.{measure}")
    else:
        task.screen.warn(
            f"{path}: INT8 is {speed}, which is not at least {INT8_WORTH_IT:g} times with confidence. "
            f"On {'that' if elsewhere else 'this'} machine ship the float32 model, "
            f"{task.run.onnx_model(role)}, unless size matters.{measure}"
        )


def _measure(target: str) -> str:
    """The command that measures on a processor of this kind."""
    return "kdtool bundle, then kdtool serve" if target == WEB else "kdtool bench"


def _headline(role: str, found: Search, here: bool) -> str:
    timed = (
        f", {ROUNDS} rounds of latency in turns on {this_machine()}"
        if here
        else f", no latency: this machine, {this_machine()}, is of another kind"
    )
    return (
        f"{NAME}: {role}: searched {len(found.trials)} INT8 models, {found.images} validation images{timed}"
    )


def _lost(before: Accuracy, after: Accuracy) -> float:
    """Points; counted in images, so that a limit is met exactly."""
    return 100 * (before.correct - after.correct) / before.images


def _gate_error(failed: Sequence[TooLossyError], settings: QuantizeSettings) -> GateError:
    """One error for all models that lose too much, worst case in the advice."""
    lines = [
        f"{error.path}: INT8 loses {error.lost:.2f} points of validation accuracy "
        f"({error.before} → {error.after} of {error.before.images} images), "
        f"allowed is {settings.max_drop:g} (quantize.max_drop)."
        for error in failed
    ]
    return GateError(
        "\n".join(lines),
        f"Try other ways to make it, --search; "
        f"more calibration images, --set quantize.calibration_images={2 * settings.calibration_images}; "
        f"accept the loss, --set quantize.max_drop={math.ceil(10 * max(e.lost for e in failed)) / 10:g}; "
        "or ship the float32 model.",
    )


def _exported_roles(run: RunFolder) -> tuple[str, ...]:
    """Of `ROLES`, those that are exported; one that is trained and not exported is not passed over."""
    sealed = sealed_models(run)
    begun = (*run.trained_roles(), *(role for role in ROLES if run.export_manifest(role).is_file()))
    missing = [role for role in ROLES if role in begun and (role, "fp32") not in sealed]
    if missing:
        raise UsageError(
            f"{run.path}: no complete export of {' and '.join(missing)} to quantize.",
            f"Export first: kdtool export --onnx {run.path}",
        )
    roles = tuple(role for role in ROLES if (role, "fp32") in sealed)
    if not roles:
        raise UsageError(
            f"{run.path}: neither teacher nor student is exported.",
            f"Train and export first: kdtool run DATA --out {run.path}",
        )
    return roles
