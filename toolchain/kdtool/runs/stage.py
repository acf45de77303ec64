"""Stages of the pipeline and their manifests.

A stage depends on its inputs (settings and the hashes of its parents) and writes to a folder: first its
files, and last its manifest. A valid manifest with the same inputs means that the stage is complete.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from kdtool import __version__
from kdtool.core.files import sha256_file, sha256_json, write_json
from kdtool.core.typed import parse_record

SCHEMA = 1


@dataclass(frozen=True)
class Manifest:
    """Record of a complete stage.

    Attributes:
        stage: name of the stage.
        inputs: settings and hashes of the parents.
        files: SHA-256 of each file, by its name relative to the folder.
        result: figures that are printed again if the stage is skipped (JSON).
        versions: versions of the libraries; they are not part of the inputs.
    """

    stage: str
    inputs: Mapping[str, Any]
    files: Mapping[str, str]
    result: Mapping[str, Any]
    versions: Mapping[str, str]


@dataclass(frozen=True)
class Stage:
    """One step of the pipeline: its name, its output folder and its inputs.

    Args:
        manifest_name: differs from the default only if several stages share a folder.
    """

    name: str
    folder: Path
    inputs: Mapping[str, Any]
    manifest_name: str = "manifest.json"

    @property
    def manifest_path(self) -> Path:
        return self.folder / self.manifest_name

    @cached_property
    def key(self) -> str:
        """SHA-256 of the inputs."""
        return sha256_json(self.inputs)

    def complete(self) -> Manifest | None:
        """Return the manifest if the stage is complete with the same inputs and all files are intact."""
        manifest = read_manifest(self.manifest_path)
        if manifest is None or manifest.stage != self.name or sha256_json(manifest.inputs) != self.key:
            return None
        return manifest if intact(self.folder, manifest) else None

    def seal(self, files: Iterable[str], result: Mapping[str, Any], versions: Mapping[str, str]) -> Manifest:
        """Write the manifest; from then on the stage is complete."""
        manifest = Manifest(
            stage=self.name,
            inputs=self.inputs,
            files={name: sha256_file(self.folder / name) for name in sorted(files)},
            result=result,
            versions={"kdtool": __version__, **versions},
        )
        write_json(self.manifest_path, {"schema": SCHEMA, **manifest.__dict__})
        return manifest

    def reopen(self) -> None:
        """Remove the manifest before files change, so that unfinished files never look complete."""
        self.manifest_path.unlink(missing_ok=True)


def read_manifest(path: Path) -> Manifest | None:
    """Read the manifest at `path`; None if there is none or this version of kdtool cannot read it."""
    try:
        return parse_record(Manifest, path.read_bytes(), SCHEMA)
    except (OSError, ValueError):
        return None


def intact(folder: Path, manifest: Manifest) -> bool:
    """Return True if every file of the manifest exists with its hash."""
    try:
        return all(sha256_file(folder / name) == digest for name, digest in manifest.files.items())
    except OSError:
        return False
