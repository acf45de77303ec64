"""Exported models of a run: which are there, and which are complete by their manifests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from kdtool.runs.folder import ROLES, RunFolder
from kdtool.runs.stage import intact, read_manifest

ModelKey = tuple[str, str]  # role, precision
MANIFESTS: Mapping[str, Callable[[RunFolder, str], Path]] = {
    "fp32": RunFolder.export_manifest,
    "int8": RunFolder.quantize_manifest,
}


def present_models(run: RunFolder) -> tuple[ModelKey, ...]:
    """List every ONNX file of the run, complete or not."""
    every = ((role, precision) for precision in MANIFESTS for role in ROLES)
    return tuple(model for model in every if run.onnx_model(*model).is_file())


def sealed_models(run: RunFolder) -> tuple[ModelKey, ...]:
    """List the ONNX files that agree with their manifest, so that no file is damaged or unfinished.

    A folder without any manifest, such as on a device, was filled by hand; then all files count.
    """
    present = present_models(run)
    if not any(run.onnx.glob("*manifest.json")):
        return present
    return tuple(model for model in present if _sealed(run, *model))


def run_of_model(path: Path) -> RunFolder | None:
    """Find the run whose model is, or would be, the file `path`; None if there is none.

    A folder with neither a record nor a manifest was filled by hand; its files may be replaced.
    """
    place = path.resolve()
    run = RunFolder(place.parent.parent)
    is_run = run.record.is_file() or any(run.onnx.glob("*manifest.json"))
    is_model = place.parent == run.onnx and place.name.split(".")[0] in ROLES and place.suffix == ".onnx"
    return run if is_run and is_model else None


def _sealed(run: RunFolder, role: str, precision: str) -> bool:
    manifest = read_manifest(MANIFESTS[precision](run, role))
    covers = manifest is not None and run.onnx_model(role, precision).name in manifest.files
    return covers and manifest is not None and intact(run.onnx, manifest)
