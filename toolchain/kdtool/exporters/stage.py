"""Stage export: every trained network of a run becomes an ONNX file, through the parity gate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from kdtool.arch.network import load_network
from kdtool.core.errors import KdtoolError, ModelFileError, UsageError
from kdtool.core.files import sha256_file
from kdtool.core.modelinfo import ModelInfo
from kdtool.core.screen import Screen
from kdtool.data.pixels.photographs import Images
from kdtool.data.reader import Prepared
from kdtool.exporters.model import VERSIONS, export_model
from kdtool.exporters.parity import parity_images
from kdtool.exporters.variants import VARIANTS
from kdtool.machine.packages import versions_of
from kdtool.recipe.settings import ExportSettings
from kdtool.runs.folder import RunFolder
from kdtool.runs.lineage import require_current
from kdtool.runs.models import MANIFESTS
from kdtool.runs.soundness import require_sound
from kdtool.runs.stage import Stage, read_manifest

NAME: Final = "export"
TRAINING_COMMANDS = {
    "teacher": "kdtool teach --out {}",
    "student": "kdtool distill --out {}",
    "baseline": "kdtool distill --baseline --out {}",
    "probe": "kdtool distill --out {}",
}


def export_models(
    run: RunFolder, prepared: Prepared, settings: ExportSettings, screen: Screen
) -> dict[str, Any]:
    """Write `run.onnx_model(role)` of every trained role; return role → facts.

    Each file passes the parity gate on images of the validation split, raw and simplified. A role is
    skipped if it is complete with the same weights, data and settings.

    Raises:
        UsageError: nothing is trained yet, or the student learnt from an older teacher.
        ModelFileError: weights are damaged, or a network cannot be exported.
        GateError: the logits of torch and ONNX Runtime differ; the file is not written.
    """
    roles = run.trained_roles()
    if not roles:
        raise UsageError(
            f"{run.path} holds no trained network.", f"Train first: kdtool run DATA --out {run.path}"
        )
    networks = {role: _intact_weights(run, role) for role in roles}
    require_current(run, NAME)
    require_sound(run)
    return {role: _export(run, role, networks[role], prepared, settings, screen) for role in roles}


def _export(
    run: RunFolder,
    role: str,
    network_sha256: str,
    prepared: Prepared,
    settings: ExportSettings,
    screen: Screen,
) -> dict[str, Any]:
    stage = Stage(
        name=NAME,
        folder=run.onnx,
        inputs={
            "settings": settings.model_dump(mode="json"),
            "data": prepared.digest,
            "versions": versions_of(VERSIONS),  # a new version of the exporter exports again
            "network": network_sha256,
        },
        manifest_name=run.export_manifest(role).name,
    )
    done = stage.complete()
    if done is not None:
        screen.say(f"{NAME}: {role}: complete, skipped")
        return dict(done.result)
    stage.reopen()
    quantized = run.onnx_model(role, "int8").is_file()
    _remove_outdated(run, role)
    network, info = load_network(run.weights(role))
    info = replace(info, role=role, weights_sha256=network_sha256)
    images = parity_images(validation_images(prepared, info, run.weights(role)), info.preprocess)
    path = run.onnx_model(role)
    try:
        facts = export_model(path, network, info, images, settings, screen)
    except KdtoolError:
        _remove_outdated(run, role)  # all or nothing: if a variant fails, the model goes too
        raise
    stage.seal(facts["files"], facts, versions_of(VERSIONS))
    if quantized:
        screen.say(
            f"{NAME}: {role}: its old INT8 model was removed; to make a new one: kdtool quantize {run.path}"
        )
    return facts


def export_finetuned(run: RunFolder, prepared: Prepared, settings: ExportSettings, screen: Screen) -> Path:
    """Export the student that was fine-tuned for INT8, through the same gate; return its FP32 ONNX file.

    Raises:
        ModelFileError, GateError: as `export_models`.
    """
    weights = run.finetuned / "model.safetensors"
    network, info = load_network(weights)
    info = replace(info, role="student", weights_sha256=sha256_file(weights))
    images = parity_images(validation_images(prepared, info, weights), info.preprocess)
    path = run.finetuned / "student.onnx"
    without_variants = settings.model_copy(update=dict.fromkeys(VARIANTS, False))
    export_model(path, network, info, images, without_variants, screen)
    return path


def validation_images(prepared: Prepared, info: ModelInfo, file: Path) -> Images:
    """Images of the validation split at the size of a model.

    Raises:
        ModelFileError: the photographs were not prepared at this size.
    """
    data = prepared.like(info.preprocess)
    if data is None:
        raise ModelFileError(
            f"{file}: its input has {info.preprocess.size} pixels, for which the run has no prepared data.",
            "Train it again in this run: kdtool run",
        )
    return data.split("validation").images


def _intact_weights(run: RunFolder, role: str) -> str:
    """Return the SHA-256 of the weights; raise ModelFileError if training recorded another one."""
    path = run.weights(role)
    manifest = read_manifest(path.parent / "manifest.json")
    digest = sha256_file(path) if path.is_file() else "missing"
    if manifest is None or manifest.files.get(path.name) != digest:
        raise ModelFileError(
            f"{path.parent}: {path.name} differs from its manifest (damaged or replaced).",
            f"Train it again with: {TRAINING_COMMANDS[role].format(run.path)}",
        )
    return digest


def _remove_outdated(run: RunFolder, role: str) -> None:
    """Remove the model and all files derived from it, so that none of them is taken for new."""
    run.quantize_manifest(role).unlink(missing_ok=True)
    for precision in MANIFESTS:
        run.onnx_model(role, precision).unlink(missing_ok=True)
    for variant in VARIANTS.values():
        for suffix in variant.suffixes:
            run.onnx_model(role).with_suffix(suffix).unlink(missing_ok=True)
