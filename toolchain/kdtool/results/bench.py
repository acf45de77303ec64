"""Results of a benchmark: the content of bench.json. Keys are a contract; unknown values are null."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from kdtool.core.errors import UsageError
from kdtool.core.typed import parse_content, typed
from kdtool.machine.host import Host, Moment
from kdtool.results.claim import Verdict
from kdtool.results.figures import gmacs, megabytes, percent
from kdtool.results.older import OLDER_SCHEMAS, upgraded
from kdtool.results.statistics.estimate import Interval

SCHEMA = 3


@dataclass(frozen=True)
class Latency:
    """Time of one inference of one image: milliseconds from the call of the runtime to its logits.

    Attributes:
        p50, p90, p99: percentiles of the times of a session, means over sessions; p99 is None for fewer than
            662 samples.
        p50_ci, p90_ci, p99_ci: 95 % intervals of the percentiles of a further session; None for one session.
        samples: measured times, in the order of the measurement.
        warmup: times of the warm-up, which do not count.
        steady: True if the warm-up reached a steady state; None if it was too short to tell.
        threads: number of threads within an operator.
        ratio, ratio_ci: median / median of the reference, in the same sessions with the same number of
            threads, and its 95 % interval.
        sessions: number of samples of each session, a process of its own, in the order of `samples`.
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
    sessions: tuple[int, ...] = ()

    @property
    def by_session(self) -> tuple[tuple[float, ...], ...]:
        """`samples` of each session."""
        return _by_session(self.samples, self.sessions)


@dataclass(frozen=True)
class Throughput:
    """Images per second, for batches that run one after the other.

    Attributes:
        batch: number of images in a batch.
        threads: number of threads within an operator.
        images_per_s, images_per_s_ci: throughput of the median batch of a session, mean over sessions, and
            its 95 % interval.
        batch_ms, warmup: milliseconds for each batch, measured and during the warm-up.
        energy_mj: millijoules for each image, of the whole processor, idle power included; None if unknown.
        steady: True if the warm-up reached a steady state; None if it was too short to tell.
        ratio, ratio_ci: throughput / throughput of the reference, in the same sessions with the same number
            of threads, and its 95 % interval.
        sessions: number of batches of each session, in the order of `batch_ms`.
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
    sessions: tuple[int, ...] = ()

    @property
    def by_session(self) -> tuple[tuple[float, ...], ...]:
        """`batch_ms` of each session."""
        return _by_session(self.batch_ms, self.sessions)


@dataclass(frozen=True)
class OwnProcess:
    """Time and memory of processes that load this model only. Each process gives one sample.

    Attributes:
        cold_start_ms: median of load + first inference.
        load_ms: times from the file to a session.
        first_ms: times of the first inference.
        peak_bytes: largest peak of the memory in use, Python and the runtime included.
        empty_bytes: largest peak before the model is opened.
    """

    cold_start_ms: float
    load_ms: tuple[float, ...]
    first_ms: tuple[float, ...]
    peak_bytes: int
    empty_bytes: int


@dataclass(frozen=True)
class ModelResult:
    """Measured values of one model: one row of the table.

    Attributes:
        name: teacher, student, baseline, teacher-int8, student-int8, or the name of a foreign file.
        accuracy, accuracy_ci: top-1 accuracy and its Wilson interval.
        n_images: number of test images.
        retention, retention_ci: accuracy / accuracy of the teacher, and its interval by the paired bootstrap.
        balanced_accuracy, macro_f1: figures that count every class alike (`kdtool.results.classes`), with
            their intervals.
        fault: what makes the answers to the test images useless (`kdtool.results.health`); None if nothing.
        params, macs: number of parameters of the FP32 network, and its MACs for one image; flops = 2 · macs.
        latency_ms: latency at batch 1.
        other_threads: latencies with other numbers of threads.
        throughput: throughput with the number of threads of `latency_ms`.
        other_throughputs: throughputs with other numbers of threads.
        file, sha256: measured ONNX file and its hash.
        runtime: runtime that ran the file.
        target: kind of processor that an INT8 file was made for, by its metadata.
        finetuned: length of the fine-tuning for INT8, by the metadata of the file; None without fine-tuning.
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
    balanced_accuracy: float | None = None
    balanced_accuracy_ci: Interval | None = None
    macro_f1: float | None = None
    macro_f1_ci: Interval | None = None
    fault: str | None = None

    @property
    def flops(self) -> int | None:
        return None if self.macs is None else 2 * self.macs

    @property
    def summary(self) -> str:
        """Name, accuracy, compute, size and median latency in one line, without unknown values."""
        parts = [
            percent(self.accuracy, 2) if self.accuracy is not None else "",
            gmacs(self.macs) if self.macs else "",
            megabytes(self.size_bytes),
            f"{self.latency_ms.p50:.3g} ms",
        ]
        return f"{self.name}: {', '.join(part for part in parts if part)}"

    @property
    def latencies(self) -> tuple[Latency, ...]:
        """Latencies with every measured number of threads."""
        return self.latency_ms, *self.other_threads

    @property
    def throughputs(self) -> tuple[Throughput, ...]:
        """Throughputs with every measured number of threads; empty if there is none."""
        return (self.throughput, *self.other_throughputs) if self.throughput else ()


@dataclass(frozen=True)
class Gain:
    """Gain from the teacher: the student compared with the baseline, the same student without a teacher.

    Attributes:
        points: top-1 accuracy of the student − top-1 accuracy of the baseline, percentage points.
        student_only, baseline_only: number of images that only this network classifies correctly.
        p: p-value of the exact McNemar test.
    """

    points: float
    student_only: int
    baseline_only: int
    p: float


@dataclass(frozen=True)
class ModelDifference:
    """Comparison of two models on the same test images; the intervals are paired bootstraps.

    Attributes:
        model, against: names of the two models.
        n_images: number of test images.
        model_only, against_only: number of images that only this model classifies correctly.
        points, points_ci: top-1 accuracy of `model` − top-1 accuracy of `against`, percentage points.
        retention, retention_ci: top-1 accuracy of `model` / top-1 accuracy of `against`; None if `against` is
            never right.
        p: p-value of the exact McNemar test.
        p_holm: p-value corrected for the number of pairs in the list, by Holm's method.
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
    """Complete result of a benchmark.

    Attributes:
        host: machine of the benchmark.
        models: measured values of each model.
        claim: verdict on the claim.
        gain: gain from the teacher; None without a baseline.
        notes: sentences that say why a figure is doubtful.
        moments: state of the machine before, during and after the benchmark.
        unstable: reasons why latencies may be unstable.
        void: reasons why latencies do not count at all: a slowed-down Raspberry Pi, an emulated processor.
        differences: comparisons of every two models, the later one against the earlier one.

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
        """Measured values of the model `name`; None if it was not measured."""
        return next((model for model in self.models if model.name == name), None)

    def __repr__(self) -> str:
        """Verdict, and one line for each model; the samples are in the fields."""
        verdict = self.claim.verdict or "nothing claimed"
        return "\n".join([f"BenchResult: {verdict}", *(f"  {model.summary}" for model in self.models)])

    def to_json(self) -> dict[str, Any]:
        """Return plain values for bench.json: the fields, and keys that follow from the fields."""
        content: dict[str, Any] = {"schema": SCHEMA, **asdict(self)}
        content |= {"host": self.host.to_json(), "claim": self.claim.to_json()}
        for row, model in zip(content["models"], self.models, strict=True):
            latency = model.latency_ms
            row |= {"flops": model.flops}
            row |= {"latency_ratio": latency.ratio, "latency_ratio_ci": latency.ratio_ci}
        plain: dict[str, Any] = _plain(content)
        return plain

    @classmethod
    def from_json(cls, text: str | bytes) -> BenchResult:
        """Read the content of a bench.json, of this schema or of an older one.

        Raises:
            ValueError: the content is wrong (the message has every wrong field).
        """
        return typed(cls, upgraded(parse_content(text, SCHEMA, *OLDER_SCHEMAS)))


def read_bench(path: Path) -> BenchResult:
    """Read the result of a benchmark from the file `path`.

    Raises:
        UsageError: there is no file, or this version cannot read it.
    """
    try:
        return BenchResult.from_json(path.read_bytes())
    except (OSError, ValueError) as error:
        cause = error.strerror if isinstance(error, OSError) else error
        raise UsageError(
            f"{path} is not a result of kdtool bench ({cause}).",
            f"Measure again with: kdtool bench {path.parent}",
        ) from error


def _by_session(times: tuple[float, ...], sessions: tuple[int, ...]) -> tuple[tuple[float, ...], ...]:
    """Split times into those of each session; without sizes they are of one session."""
    if not sessions:
        return (times,)
    ends = tuple(accumulate(sessions))
    return tuple(times[end - size : end] for end, size in zip(ends, sessions, strict=True))


def _plain(value: Any) -> Any:
    """Replace tuples by lists, at every level."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value
