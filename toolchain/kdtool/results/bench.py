"""What bench found: bench.json as the code knows it. Keys are a contract; unknown values are null."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kdtool.core.errors import UsageError
from kdtool.core.typed import parse_content, typed
from kdtool.machine.host import Host, Moment
from kdtool.results.claim import Verdict
from kdtool.results.older import FIRST_SCHEMA, upgraded
from kdtool.results.statistics import Interval

SCHEMA = 2


@dataclass(frozen=True)
class Latency:
    """Milliseconds from calling the runtime to having its answer to one image.

    Attributes:
        p50, p90, p99: of `samples`; p99 is None of fewer than 662.
        p50_ci, p90_ci, p99_ci: their 95 % intervals.
        samples: in the order they were taken.
        warmup: the ones before, which do not count.
        steady: whether warming up ended in a steady state; None where it was too short to tell.
        threads: within an operator.
        ratio, ratio_ci: median / the reference's, of the same rounds and as many threads.
    """

    p50: float
    p90: float
    samples: tuple[float, ...]
    warmup: tuple[float, ...]
    threads: int
    p99: float | None = None
    p50_ci: Interval | None = None
    p90_ci: Interval | None = None
    p99_ci: Interval | None = None
    steady: bool | None = None
    ratio: float | None = None
    ratio_ci: Interval | None = None


@dataclass(frozen=True)
class Throughput:
    """Offline: batches one after the other.

    Attributes:
        images_per_s, images_per_s_ci: of the median batch, and its 95 % interval.
        batch_ms, warmup: milliseconds a batch.
        energy_mj: millijoules an image of the whole processor, idling included; None where it is not counted.
        steady: as in `Latency`.
        ratio, ratio_ci: images per second / the reference's, of the same rounds and as many threads.
    """

    batch: int
    threads: int
    images_per_s: float
    images_per_s_ci: Interval | None
    batch_ms: tuple[float, ...]
    warmup: tuple[float, ...]
    energy_mj: float | None = None
    steady: bool | None = None
    ratio: float | None = None
    ratio_ci: Interval | None = None


@dataclass(frozen=True)
class OwnProcess:
    """What a process that has nothing but this model takes. One sample a process.

    Attributes:
        cold_start_ms: median of load + first.
        load_ms, first_ms: from the file to a session; its first answer.
        peak_bytes: largest peak of the memory in use, Python and the runtime included.
        empty_bytes: the peak before the model was opened.
    """

    cold_start_ms: float
    load_ms: tuple[float, ...]
    first_ms: tuple[float, ...]
    peak_bytes: int
    empty_bytes: int


@dataclass(frozen=True)
class ModelResult:
    """One row of the table.

    Attributes:
        name: teacher, student, baseline, teacher-int8, student-int8, or that of a foreign file.
        accuracy, accuracy_ci: top-1 and its Wilson interval.
        retention, retention_ci: accuracy / the teacher's, by the paired bootstrap.
        params, macs: of the float network, one image; flops = 2 · macs.
        latency_ms: batch 1; `other_threads`: the same with other numbers of threads.
        throughput: with as many threads as `latency_ms`; `other_throughputs`: with other numbers of threads.
        file, sha256: the ONNX file measured.
        runtime: what ran it.
        target: the kind of processor that an INT8 file says it was made for.
        finetuned: for how long it says its weights were trained on for INT8; None where they were not.
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
    runtime: str = "onnxruntime"
    other_threads: tuple[Latency, ...] = ()
    throughput: Throughput | None = None
    own_process: OwnProcess | None = None
    other_throughputs: tuple[Throughput, ...] = ()
    target: str | None = None
    finetuned: str | None = None

    @property
    def flops(self) -> int | None:
        return None if self.macs is None else 2 * self.macs

    @property
    def summary(self) -> str:
        """Name, accuracy, compute, size and median latency in one line; what is not known is left out."""
        parts = [
            f"{100 * self.accuracy:.2f} %" if self.accuracy is not None else "",
            f"{self.macs / 1e9:.4g} GMACs" if self.macs else "",
            f"{self.size_bytes / 1e6:.1f} MB",
            f"{self.latency_ms.p50:.3g} ms",
        ]
        return f"{self.name}: {', '.join(part for part in parts if part)}"

    @property
    def latencies(self) -> tuple[Latency, ...]:
        """With every number of threads."""
        return self.latency_ms, *self.other_threads

    @property
    def throughputs(self) -> tuple[Throughput, ...]:
        """With every number of threads; empty where it was not measured."""
        return (self.throughput, *self.other_throughputs) if self.throughput else ()


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
class ModelDifference:
    """Two models on the same test images.

    Attributes:
        model_only, against_only: images only one of them answers rightly.
        points, points_ci: top-1 of `model` − that of `against`, percentage points, by the paired bootstrap.
        retention, retention_ci: top-1 of `model` / that of `against`; None where the latter is never right.
        p: of the exact McNemar test. `p_holm`: corrected for the number of pairs in the list.
    """

    model: str
    against: str
    n_images: int
    model_only: int
    against_only: int
    points: float
    points_ci: Interval
    retention: float | None
    retention_ci: Interval | None
    p: float
    p_holm: float


@dataclass(frozen=True)
class BenchResult:
    """A whole measurement.

    Attributes:
        notes: sentences on what makes its figures doubtful.
        moments: the machine before, during and after.
        unstable: reasons why latencies may be unstable.
        void: reasons why latencies do not count at all: a Raspberry Pi slowed down, an emulated processor.
        differences: of every two models that answered the test images, the later against the earlier one.

    Example:
        result = kdtool.open_run("artifacts/paper").bench
        result.claim.verdict, result.model("student").accuracy_ci
    """

    host: Host
    models: tuple[ModelResult, ...]
    claim: Verdict
    gain: Gain | None
    notes: tuple[str, ...]
    moments: tuple[Moment, ...] = ()
    unstable: tuple[str, ...] = ()
    void: tuple[str, ...] = ()
    differences: tuple[ModelDifference, ...] = ()

    def model(self, name: str) -> ModelResult | None:
        """The row of a model; None where it was not measured."""
        return next((model for model in self.models if model.name == name), None)

    def __repr__(self) -> str:
        """The verdict and a line for each model; the samples are in the fields."""
        return "\n".join(
            [f"BenchResult: {self.claim.verdict}", *(f"  {model.summary}" for model in self.models)]
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values for bench.json: the fields, and keys that follow from them."""
        content: dict[str, Any] = {"schema": SCHEMA, **asdict(self)}
        content |= {"host": self.host.to_json(), "claim": self.claim.to_json()}
        for row, model in zip(content["models"], self.models, strict=True):
            own = model.latency_ms
            row |= {"flops": model.flops, "latency_ratio": own.ratio, "latency_ratio_ci": own.ratio_ci}
        plain: dict[str, Any] = _plain(content)
        return plain

    @classmethod
    def from_json(cls, text: str | bytes) -> BenchResult:
        """The measurement in a bench.json of this version or of the first.

        Raises:
            ValueError: it is none; every wrong field is named.
        """
        return typed(cls, upgraded(parse_content(text, SCHEMA, FIRST_SCHEMA)))


def read_bench(path: Path) -> BenchResult:
    """The measurement in the file `path`.

    Raises:
        UsageError: there is none, or it is not one of this version.
    """
    try:
        return BenchResult.from_json(path.read_bytes())
    except (OSError, ValueError) as error:
        cause = error.strerror if isinstance(error, OSError) else error
        raise UsageError(
            f"{path} is not a result of bench ({cause}).", f"Measure again with: kdtool bench {path.parent}"
        ) from error


def _plain(value: Any) -> Any:
    """Tuples as lists, all the way down."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value
