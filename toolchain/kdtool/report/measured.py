"""bench.json as the report reads it: typed, and checked before anything is drawn from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kdtool.core.errors import DataError

Share = float
Interval = tuple[float, float]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, protected_namespaces=())


class Latency(_Part):
    """Of one image, milliseconds; `samples` are the raw ones."""

    p50: float | None
    p90: float | None
    samples: tuple[float, ...]
    threads: int


class ModelRow(_Part):
    """One model as measured; None is what was not."""

    name: str
    role: str | None
    precision: str | None
    accuracy: Share | None
    accuracy_ci: Interval | None
    n_images: int | None
    retention: Share | None
    retention_ci: Interval | None
    params: int | None
    macs: int | None
    flops: int | None
    size_bytes: int
    latency_ms: Latency | None


class Thresholds(_Part):
    min_retention: Share
    max_compute: Share


class Claim(_Part):
    """As `kdtool.core.statistics.Verdict`."""

    verdict: Literal["PASS", "FAIL", "INCONCLUSIVE"]
    retention: Share | None
    retention_ci: Interval | None
    compute_ratio: Share | None
    params_ratio: Share | None
    thresholds: Thresholds
    images_needed: int | None = None


class Gain(_Part):
    """The student against the same student without a teacher: percentage points, and McNemar's p."""

    points: float
    p: Share


class Measured(_Part):
    """The whole file; `notes` say what makes its figures doubtful."""

    version: Literal[1] = Field(alias="schema")
    host: dict[str, Any]
    models: tuple[ModelRow, ...]
    claim: Claim | None
    gain: Gain | None = None
    notes: tuple[str, ...] = ()


def read_measured(path: Path) -> Measured:
    """Read bench.json.

    Raises:
        DataError: it cannot be read, or fields are missing or wrong (all are named).
    """
    try:
        return Measured.model_validate_json(path.read_bytes())
    except ValidationError as error:
        problems = [f"  {'.'.join(map(str, one['loc'])) or 'file'}: {one['msg']}" for one in error.errors()]
        cause = "\n".join([f"{path} is not a result of kdtool bench.", *problems])
    except OSError as error:
        cause = f"{path} cannot be read ({error.strerror})."
    raise DataError(cause, f"Measure again with: kdtool bench {path.parent}")
