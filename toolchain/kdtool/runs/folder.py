"""Folder of a run: the paths of its files, and its `run.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from kdtool.core.errors import UsageError
from kdtool.core.files import write_json

SCHEMA = 1
ARTIFACTS = Path("artifacts")
ROLES = ("teacher", "student", "baseline", "probe")


@dataclass(frozen=True)
class RunRecord:
    """Content of run.json; `data` is the digest of the prepared photographs."""

    schema: int
    recipe: dict[str, Any]
    seed: int
    source: str
    classes: list[str]
    data: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    unlabelled: dict[str, Any] | None = None


@dataclass(frozen=True)
class RunFolder:
    """Paths of the files in a run. No method opens a model."""

    path: Path

    @property
    def record(self) -> Path:
        return self.path / "run.json"

    @property
    def data(self) -> Path:
        return self.path / "data"

    @property
    def soft_labels(self) -> Path:
        return self.path / "softlabels"

    @property
    def onnx(self) -> Path:
        return self.path / "onnx"

    @property
    def bench(self) -> Path:
        return self.path / "bench.json"

    @property
    def predictions(self) -> Path:
        return self.path / "predictions.csv"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def students_record(self) -> Path:
        """Record of the students; only a comparison has it."""
        return self.path / "students.json"

    @property
    def is_comparison(self) -> bool:
        """True if this is the folder of a comparison (`kdtool compare`)."""
        return self.students_record.is_file()

    @property
    def finetuned(self) -> Path:
        """Folder of the student that was fine-tuned for INT8, if calibration alone was not enough."""
        return self.path / "finetuned"

    def role(self, role: str) -> Path:
        """Folder of a trained network: teacher, student, baseline, or the student's linear probe."""
        return self.path / role

    def weights(self, role: str) -> Path:
        return self.role(role) / "model.safetensors"

    def onnx_model(self, role: str, precision: str = "fp32") -> Path:
        return self.onnx / (f"{role}.onnx" if precision == "fp32" else f"{role}.{precision}.onnx")

    def export_manifest(self, role: str) -> Path:
        return self.onnx / f"export.{role}.manifest.json"

    def quantize_manifest(self, role: str) -> Path:
        return self.onnx / f"quantize.{role}.manifest.json"

    def trained_roles(self) -> tuple[str, ...]:
        """Roles of the networks whose training is complete, teacher first."""
        return tuple(role for role in ROLES if (self.role(role) / "manifest.json").is_file())

    def read_record(self) -> dict[str, Any]:
        """Read the content of run.json.

        Raises:
            UsageError: there is no run.json, or this version of kdtool cannot read it.
        """
        try:
            content = json.loads(self.record.read_text("utf-8"))
            if content["schema"] != SCHEMA:
                raise ValueError("written by another version of kdtool")
            TypeAdapter(RunRecord).validate_python(content)
            return dict(content)
        except FileNotFoundError:
            raise UsageError(
                f"{self.path} is not a run: it has no run.json.", "Start a run with: kdtool run DATA"
            ) from None
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            cause = f"{error.error_count()} wrong field(s)" if isinstance(error, ValidationError) else error
            raise UsageError(
                f"{self.record} cannot be read ({cause}).",
                "Restore it, or start a new run with: kdtool run DATA --out DIR",
            ) from error

    def write_record(self, content: Mapping[str, Any]) -> None:
        write_json(self.record, {"schema": SCHEMA, **content})


def newest_run(artifacts: Path = ARTIFACTS) -> RunFolder:
    """Find the run under `artifacts` with the newest run.json; comparisons do not count.

    Raises:
        UsageError: there is no run.
    """
    runs = [RunFolder(path.parent) for path in artifacts.glob("*/run.json")]
    runs = [run for run in runs if not run.is_comparison]
    if not runs:
        raise UsageError(
            f"There is no run under {artifacts}/.", "Start a run with: kdtool run DATA, or name its folder."
        )
    return max(runs, key=lambda run: run.record.stat().st_mtime)
