"""What bench found, and its JSON. Keys are a contract (docs: files of a run); unknown values are null."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from kdtool.bench.host import Host
from kdtool.bench.latency import Latency
from kdtool.core.statistics import Interval, Thresholds, Verdict

SCHEMA = 1


@dataclass(frozen=True)
class ModelResult:
    """One row of the table.

    Attributes:
        name: teacher, student, baseline, teacher-int8, student-int8, or that of a foreign file.
        accuracy, accuracy_ci: top-1 and its Wilson interval.
        retention, retention_ci: accuracy / the teacher's, by the paired bootstrap.
        params, macs: of the float network, one image; flops = 2 · macs.
        latency_ms: batch 1.
        file, sha256: the ONNX file measured.
    """

    name: str
    role: str | None
    precision: str | None
    accuracy: float | None
    accuracy_ci: Interval | None
    n_images: int | None
    retention: float | None
    retention_ci: Interval | None
    params: int | None
    macs: int | None
    size_bytes: int
    latency_ms: Latency
    file: str
    sha256: str

    @property
    def flops(self) -> int | None:
        return None if self.macs is None else 2 * self.macs


@dataclass(frozen=True)
class Gain:
    """What the teacher was good for: the student against the same student trained without it.

    Attributes:
        points: difference of top-1, percentage points.
        student_only, baseline_only: images only one of them answers rightly.
        p: of the exact McNemar test.
    """

    points: float
    student_only: int
    baseline_only: int
    p: float


@dataclass(frozen=True)
class BenchResult:
    """A whole measurement. `notes` say what makes its figures doubtful."""

    host: Host
    models: tuple[ModelResult, ...]
    claim: Verdict
    gain: Gain | None
    notes: tuple[str, ...]

    def model(self, name: str) -> ModelResult | None:
        return next((model for model in self.models if model.name == name), None)

    def to_json(self) -> dict[str, Any]:
        """Plain values for bench.json."""
        return {
            "schema": SCHEMA,
            "host": _plain(asdict(self.host)),
            "models": [_plain(asdict(model) | {"flops": model.flops}) for model in self.models],
            "claim": _plain(asdict(self.claim)),
            "gain": None if self.gain is None else asdict(self.gain),
            "notes": list(self.notes),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> BenchResult:
        """Raises ValueError, KeyError or TypeError where the content is not a bench.json of this version."""
        if content["schema"] != SCHEMA:
            raise ValueError("written by another version of kdtool")
        claim = content["claim"]
        return cls(
            host=Host(**_tuples(content["host"])),
            models=tuple(_model(model) for model in content["models"]),
            claim=Verdict(**(_tuples(claim) | {"thresholds": Thresholds(**claim["thresholds"])})),
            gain=None if content["gain"] is None else Gain(**content["gain"]),
            notes=tuple(content["notes"]),
        )


def _model(content: Mapping[str, Any]) -> ModelResult:
    known = {field.name for field in fields(ModelResult)}
    latency = Latency(**_tuples(content["latency_ms"]))
    values = {key: value for key, value in _tuples(content).items() if key in known}
    return ModelResult(**(values | {"latency_ms": latency}))


def _plain(value: Any) -> Any:
    """Tuples as lists, all the way down."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def _tuples(content: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in content.items()}
