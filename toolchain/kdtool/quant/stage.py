"""The stage quantize: INT8 of teacher and student, through the accuracy gate."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from kdtool.core.errors import GateError, ModelFileError, UsageError
from kdtool.core.files import durable, sha256_file
from kdtool.core.manifest import Stage, intact, read_manifest
from kdtool.core.modelinfo import ModelInfo
from kdtool.core.onnxfile import INPUT, onnx_bytes
from kdtool.core.recipe import QuantizeSettings
from kdtool.core.run import EXPORT_MANIFEST, RunFolder
from kdtool.core.screen import Screen
from kdtool.core.versions import versions_of
from kdtool.data.reader import Prepared
from kdtool.quant.accuracy import Accuracy, top1
from kdtool.quant.calibrate import CalibrationImages, calibration_indices
from kdtool.quant.int8 import quantize_to_int8
from kdtool.quant.target import Int8Recipe, host_target, int8_recipe
from kdtool.runtime.onnxruntime import open_model

NAME = "quantize"
MANIFEST = "quantize.manifest.json"
ROLES = ("teacher", "student")
VERSIONS = ("onnx", "onnxruntime")
PRECISION = "int8"


def quantize_models(
    run: RunFolder, prepared: Prepared, settings: QuantizeSettings, screen: Screen
) -> dict[str, Any]:
    """Write `run.onnx_model(role, "int8")` of teacher and student; returns the facts of each, by role.

    Calibrated on images of the training split; accuracy before and after is that on the validation
    split. Skipped if it was done before with the same models, data, settings and kind of processor.

    Raises:
        UsageError: the models are not exported yet.
        GateError: a model loses more accuracy than `settings.max_drop`; its file is not written.
    """
    roles = _exported_roles(run)
    recipe = int8_recipe(host_target(), settings.reduce_range)
    stage = Stage(
        name=NAME,
        folder=run.onnx,
        inputs={
            "settings": settings.model_dump(mode="json"),
            "data": prepared.digest,
            "models": {role: sha256_file(run.onnx_model(role)) for role in roles},
            "target": recipe.target,
            "versions": versions_of(VERSIONS),
        },
        manifest_name=MANIFEST,
    )
    done = stage.complete()
    if done is not None:
        screen.say(f"{NAME}: complete, skipped")
        return dict(done.result)
    stage.reopen()
    for role in ROLES:
        run.onnx_model(role, PRECISION).unlink(missing_ok=True)
    screen.say(f"{NAME}: {recipe} ({recipe.reason})")
    facts = {role: _quantize(run, role, prepared, settings, recipe, screen) for role in roles}
    stage.seal((run.onnx_model(role, PRECISION).name for role in roles), facts, versions_of(VERSIONS))
    return facts


def _quantize(
    run: RunFolder,
    role: str,
    prepared: Prepared,
    settings: QuantizeSettings,
    recipe: Int8Recipe,
    screen: Screen,
) -> dict[str, Any]:
    source, target = run.onnx_model(role), run.onnx_model(role, PRECISION)
    before, info = _accuracy(source, prepared)
    train = prepared.split("train")
    # The subset is a function of the data alone: the digest is the seed.
    chosen = calibration_indices(train.labels, settings.calibration_images, int(prepared.digest[:8], 16))
    with durable(target) as partial:
        with screen.bar(f"{NAME} {role}", len(chosen)) as bar:
            images = CalibrationImages(train.images, chosen, info.preprocess, INPUT, bar)
            model = quantize_to_int8(source, images, recipe)
        info = replace(
            info,
            precision=PRECISION,
            versions={**info.versions, **versions_of(VERSIONS)},
            notes={
                **info.notes,
                "quantization": f"{recipe}: {recipe.reason}",
                "target": recipe.target,
                "calibration": f"minimum and maximum over {len(chosen)} training images",
            },
        )
        partial.write_bytes(onnx_bytes(model, info))
        after, _ = _accuracy(partial, prepared)
        _gate(target, before, after, settings)
    screen.say(
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
                f"{path}: not a model of kdtool.", "Export it again with: kdtool export --onnx"
            )
        return top1(session, prepared.split("validation"), session.info.preprocess), session.info
    finally:
        session.close()


def _gate(path: Path, before: Accuracy, after: Accuracy, settings: QuantizeSettings) -> None:
    lost = 100 * (before.correct - after.correct) / before.images
    if lost > settings.max_drop:
        raise GateError(
            f"{path}: INT8 loses {lost:.2f} points of validation accuracy ({before} → {after} of "
            f"{before.images} images), allowed is {settings.max_drop:g} (quantize.max_drop).",
            "Try more calibration images, --set quantize.calibration_images="
            f"{2 * settings.calibration_images}; accept the loss, --set quantize.max_drop="
            f"{math.ceil(10 * lost) / 10:g}; or ship the float32 model.",
        )


def _exported_roles(run: RunFolder) -> tuple[str, ...]:
    """Of `ROLES`, those whose export is complete."""
    exported = read_manifest(run.onnx / EXPORT_MANIFEST)
    if exported is None or not intact(run.onnx, exported):
        raise UsageError(f"{run.path}: no complete export to quantize.", "Export first: kdtool export --onnx")
    roles = tuple(role for role in ROLES if run.onnx_model(role).name in exported.files)
    if not roles:
        raise UsageError(
            f"{run.path}: neither teacher nor student is exported.", "Train and export first: kdtool run DATA"
        )
    return roles
