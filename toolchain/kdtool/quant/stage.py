"""The stage quantize: INT8 of teacher and student, through the accuracy gate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from kdtool.core.cpu import int8_target
from kdtool.core.errors import GateError, ModelFileError, UsageError
from kdtool.core.files import durable, sha256_file
from kdtool.core.lineage import require_current
from kdtool.core.manifest import Stage
from kdtool.core.modelinfo import ModelInfo
from kdtool.core.models import sealed_models
from kdtool.core.recipe import QuantizeSettings
from kdtool.core.run import RunFolder
from kdtool.core.screen import Screen
from kdtool.core.versions import versions_of
from kdtool.data.reader import Prepared
from kdtool.graph.onnxfile import onnx_bytes
from kdtool.quant.accuracy import Accuracy, top1
from kdtool.quant.calibrate import CalibrationImages, calibration_indices
from kdtool.quant.int8 import quantize_to_int8
from kdtool.quant.observe import EXTENT_ONLY, observe, passes, ranges_of
from kdtool.quant.target import Int8Recipe, int8_recipe
from kdtool.runtime.onnxruntime import open_model

NAME: Final = "quantize"
ROLES = ("teacher", "student")
VERSIONS = ("onnx", "onnxruntime")
PRECISION = "int8"


@dataclass(frozen=True)
class Task:
    """What is the same for every model of a run."""

    run: RunFolder
    prepared: Prepared
    settings: QuantizeSettings
    recipe: Int8Recipe
    screen: Screen


class TooLossyError(Exception):
    """An INT8 model that must not be written."""

    def __init__(self, path: Path, before: Accuracy, after: Accuracy) -> None:
        super().__init__(path)
        self.path, self.before, self.after = path, before, after
        self.lost = _lost(before, after)


def quantize_models(
    run: RunFolder, prepared: Prepared, settings: QuantizeSettings, screen: Screen
) -> dict[str, Any]:
    """Write `run.onnx_model(role, "int8")` of teacher and student; returns the facts of each, by role.

    Calibrated on images of the training split; accuracy before and after is that on the validation
    split. A model is skipped if it was done before with the same float model, data, settings and kind
    of processor; one that fails its gate does not cost the other.

    Raises:
        UsageError: the models are not exported yet, or are of older weights.
        GateError: models lose more accuracy than `settings.max_drop` (all are named); their files are
            not written.
    """
    require_current(run, NAME)
    roles = _exported_roles(run)
    here = int8_target()
    recipe = int8_recipe(here if settings.target == "auto" else settings.target, settings.reduce_range)
    task = Task(run, prepared, settings, recipe, screen)
    screen.say(f"{NAME}: for {recipe.target}: {recipe} ({recipe.reason})")
    if recipe.target != here:
        screen.warn(
            f"The INT8 models are made for {recipe.target}, this machine is {here}: the accuracy measured "
            f"here may be another there. Measure it there: kdtool bench"
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
            "target": task.recipe.target,
        },
        manifest_name=task.run.quantize_manifest(role).name,
    )
    done = stage.complete()
    if done is not None:
        task.screen.say(f"{NAME}: {role}: complete, skipped")
        return dict(done.result)
    stage.reopen()
    target.unlink(missing_ok=True)
    facts = _write(task, role, target)
    stage.seal([target.name], facts, versions_of(VERSIONS))
    return facts


def _write(task: Task, role: str, target: Path) -> dict[str, Any]:
    source, prepared, recipe = task.run.onnx_model(role), task.prepared, task.recipe
    before, info = _accuracy(source, prepared)
    train = prepared.split("train")
    # The subset is a function of the data alone: the digest is the seed.
    chosen = calibration_indices(train.labels, task.settings.calibration_images, int(prepared.digest[:8], 16))
    with durable(target) as partial:
        method = task.settings.calibration
        images = CalibrationImages(train.images, chosen, info.preprocess)
        with task.screen.bar(f"{NAME} {role}", passes(method) * len(chosen)) as bar:
            histograms = observe(source, images, method not in EXTENT_ONLY, bar)
        model = quantize_to_int8(source, ranges_of(histograms, method, recipe.symmetric), recipe)
        info = replace(
            info,
            precision=PRECISION,
            versions={**info.versions, **versions_of(VERSIONS)},
            notes={
                **info.notes,
                "quantization": f"{recipe}: {recipe.reason}",
                "target": recipe.target,
                "calibration": f"{method} over {len(chosen)} training images",
            },
        )
        partial.write_bytes(onnx_bytes(model, info))
        after, _ = _accuracy(partial, prepared)
        if _lost(before, after) > task.settings.max_drop:
            raise TooLossyError(target, before, after)
    task.screen.say(
        f"{NAME}: {target}, {source.stat().st_size / 1e6:.1f} → {target.stat().st_size / 1e6:.1f} MB; "
        f"validation accuracy {before} → {after} ({after.points - before.points:+.2f} points, "
        f"{before.images} images)"
    )
    return {
        "accuracy_before": before.points / 100,
        "accuracy_after": after.points / 100,
        "n_images": before.images,
        "calibration_images": len(chosen),
        "size_bytes": target.stat().st_size,
        "recipe": {"target": recipe.target, "description": str(recipe), "reason": recipe.reason},
    }


def _accuracy(path: Path, prepared: Prepared) -> tuple[Accuracy, ModelInfo]:
    session = open_model(path)
    try:
        if session.info is None:
            raise ModelFileError(
                f"{path}: not a model of kdtool.",
                f"Export it again with: kdtool export --onnx {path.parent.parent}",
            )
        return top1(session, prepared.split("validation"), session.info.preprocess), session.info
    finally:
        session.close()


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
        f"Try more calibration images, --set quantize.calibration_images={2 * settings.calibration_images}; "
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
