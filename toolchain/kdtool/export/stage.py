"""The stage export: every trained network of a run to ONNX, through the parity gate."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from kdtool.arch.network import load_network
from kdtool.core.errors import UsageError
from kdtool.core.files import sha256_file
from kdtool.core.manifest import Stage
from kdtool.core.recipe import ExportSettings
from kdtool.core.run import EXPORT_MANIFEST, RunFolder
from kdtool.core.screen import Screen
from kdtool.core.versions import versions_of
from kdtool.data.reader import Prepared
from kdtool.export.model import VERSIONS, export_model
from kdtool.export.parity import parity_images

NAME = "export"
PRECISIONS = ("fp32", "int8")


def export_models(
    run: RunFolder, prepared: Prepared, settings: ExportSettings, screen: Screen
) -> dict[str, Any]:
    """Write `run.onnx_model(role)` of every trained role; returns the facts of each, by role.

    Each file passes the parity gate on images of the validation split, raw and simplified. Skipped if
    it was done before with the same weights and settings.

    Raises:
        UsageError: nothing is trained yet.
        ModelFileError: a network cannot be exported.
        GateError: torch and ONNX Runtime differ; the file is not written.
    """
    roles = run.trained_roles()
    if not roles:
        raise UsageError(
            f"{run.path} holds no trained network.", "Train first: kdtool teach, or kdtool run DATA"
        )
    stage = Stage(
        name=NAME,
        folder=run.onnx,
        inputs={
            "settings": settings.model_dump(mode="json"),
            "data": prepared.digest,
            "versions": versions_of(VERSIONS),  # an exporter that was mended must not be skipped
            "networks": {role: sha256_file(run.weights(role)) for role in roles},
        },
        manifest_name=EXPORT_MANIFEST,
    )
    done = stage.complete()
    if done is not None:
        screen.say(f"{NAME}: complete, skipped")
        return dict(done.result)
    stage.reopen()
    for role in roles:
        _remove_outdated(run, role)
    pixels = prepared.split("validation").images
    facts: dict[str, Any] = {}
    for role in roles:
        network, info = load_network(run.weights(role))
        info = replace(info, role=role, weights_sha256=sha256_file(run.weights(role)))
        images = parity_images(pixels, info.preprocess)
        facts[role] = export_model(run.onnx_model(role), network, info, images, settings, screen)
    stage.seal((run.onnx_model(role).name for role in roles), facts, versions_of(VERSIONS))
    return facts


def _remove_outdated(run: RunFolder, role: str) -> None:
    """The files about to be made again, and what was derived from them: none may pass for new."""
    for precision in PRECISIONS:
        run.onnx_model(role, precision).unlink(missing_ok=True)
