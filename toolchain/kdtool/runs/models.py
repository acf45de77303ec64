"""Which exported models of a run may be taken: those that a manifest vouches for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from kdtool.runs.folder import ROLES, RunFolder
from kdtool.runs.stage import intact, read_manifest

Model = tuple[str, str]  # role, precision
MANIFESTS: Mapping[str, Callable[[RunFolder, str], Path]] = {
    "fp32": RunFolder.export_manifest,
    "int8": RunFolder.quantize_manifest,
}


def present_models(run: RunFolder) -> tuple[Model, ...]:
    """Every ONNX file that lies in the run, sound or not."""
    every = ((role, precision) for precision in MANIFESTS for role in ROLES)
    return tuple(model for model in every if run.onnx_model(*model).is_file())


def sealed_models(run: RunFolder) -> tuple[Model, ...]:
    """The ONNX files that are what their manifest says: not torn, damaged or of a step that was broken off.

    A folder without any manifest was filled by hand, as on a device; all its files are taken.
    """
    present = present_models(run)
    if not any(run.onnx.glob("*manifest.json")):
        return present
    return tuple(model for model in present if _sealed(run, *model))


def _sealed(run: RunFolder, role: str, precision: str) -> bool:
    manifest = read_manifest(MANIFESTS[precision](run, role))
    covers = manifest is not None and run.onnx_model(role, precision).name in manifest.files
    return covers and manifest is not None and intact(run.onnx, manifest)
