"""A stage of the pipeline, complete when its manifest stands.

A stage is a function of its inputs (settings and the hashes of its parents) and a folder. It writes
its payload and then, last, its manifest. A valid manifest with the same inputs means: done.
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
    """What a complete stage left behind.

    Attributes:
        inputs: the settings and parents it was made from.
        files: name relative to the folder → SHA-256.
        result: the figures worth repeating when the stage is skipped (JSON).
        versions: library versions at work; recorded, not part of the inputs.
    """

    stage: str
    inputs: Mapping[str, Any]
    files: Mapping[str, str]
    result: Mapping[str, Any]
    versions: Mapping[str, str]


@dataclass(frozen=True)
class Stage:
    """One step: its name, the folder it writes to, and what its output is a function of.

    Args:
        manifest_name: differs from the default only where two stages share a folder.
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
        """The manifest if this stage is done with the same inputs and every file is intact."""
        manifest = read_manifest(self.manifest_path)
        if manifest is None or manifest.stage != self.name or sha256_json(manifest.inputs) != self.key:
            return None
        return manifest if intact(self.folder, manifest) else None

    def seal(self, files: Iterable[str], result: Mapping[str, Any], versions: Mapping[str, str]) -> Manifest:
        """Write the manifest: from here on the stage is complete."""
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
        """Remove the manifest before the payload changes, so that a torn payload never looks finished."""
        self.manifest_path.unlink(missing_ok=True)


def read_manifest(path: Path) -> Manifest | None:
    """The manifest at `path`, or None where there is none or it is not one of ours."""
    try:
        return parse_record(Manifest, path.read_bytes(), SCHEMA)
    except (OSError, ValueError):
        return None


def intact(folder: Path, manifest: Manifest) -> bool:
    """Whether every file of the manifest is there with its hash."""
    try:
        return all(sha256_file(folder / name) == digest for name, digest in manifest.files.items())
    except OSError:
        return False
