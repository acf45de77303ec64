"""Compare the measurements of several machines: bench.json files from anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from kdtool.benchmark.notes import finetuned_notes, stability_notes
from kdtool.core.errors import UsageError
from kdtool.results.bench import BenchResult, Latency, ModelResult, Throughput, read_bench
from kdtool.results.figures import percent
from kdtool.results.statistics.estimate import Interval
from kdtool.runs.folder import RunFolder

SCHEMA = 1


@dataclass(frozen=True)
class MachineRow:
    """One model on one machine, with one number of threads.

    Attributes:
        machine: number of the machine, from 1.
        same_file: True if the first machine with a model of this name measured the same file.
        p50_ms, …: latencies; None if they are void.
        to_reference, to_reference_ci: median latency / median latency of the reference on the same machine.
        to_first, to_first_ci: median latency / median latency of the same file on the first machine. The two
            series of samples are not paired, so the interval divides the ends of both intervals, which makes
            it wider than needed. The chosen number of threads is compared with the chosen number on the first
            machine, one thread with one thread.
        batch: images in a batch; None if throughput was not measured.
        images_to_reference, images_to_reference_ci: images per second / those of the reference.
        images_to_first, images_to_first_ci: images per second / those on the first machine, if the batches
            have the same size.
    """

    model: str
    machine: int
    threads: int
    runtime: str
    same_file: bool
    accuracy: float | None
    accuracy_ci: Interval | None
    p50_ms: float | None
    p50_ci: Interval | None
    p90_ms: float | None
    p99_ms: float | None
    to_reference: float | None
    to_first: float | None
    to_first_ci: Interval | None
    to_reference_ci: Interval | None = None
    batch: int | None = None
    images_per_s: float | None = None
    images_per_s_ci: Interval | None = None
    images_to_reference: float | None = None
    images_to_reference_ci: Interval | None = None
    images_to_first: float | None = None
    images_to_first_ci: Interval | None = None


@dataclass(frozen=True)
class Machines:
    """Measurements of several machines.

    Attributes:
        files, results: each bench.json and its content.
        rows: rows of the table, ordered by model.
        notes: sentences about everything that makes the rows hard to compare.
    """

    files: tuple[Path, ...]
    results: tuple[BenchResult, ...]
    rows: tuple[MachineRow, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        machines = [
            {
                "file": str(path),
                "host": result.host.to_json(),
                "claim": result.claim.to_json(),
                "unstable": list(result.unstable),
                "void": list(result.void),
            }
            for path, result in zip(self.files, self.results, strict=True)
        ]
        return {
            "schema": SCHEMA,
            "machines": machines,
            "rows": [asdict(row) for row in self.rows],
            "notes": list(self.notes),
        }


def read_machines(targets: Sequence[Path]) -> Machines:
    """Read bench.json files, or the bench.json of run folders.

    Raises:
        UsageError: no file is named, a file is named twice, or a file is not a result of bench.
    """
    files = tuple(RunFolder(path).bench if path.is_dir() else path for path in targets)
    if not files:
        raise UsageError(
            "--compare needs bench.json files, or folders of runs.",
            "Example: kdtool bench --compare artifacts/paper/bench.json pi/bench.json",
        )
    twice = [str(path) for path in dict.fromkeys(files) if files.count(path) > 1]
    if twice:
        raise UsageError(f"{', '.join(twice)}: named twice.", "Name each file once.")
    results = tuple(read_bench(path) for path in files)
    names = list(dict.fromkeys(model.name for result in results for model in result.models))
    rows, notes = [], []
    for name in names:
        rows += _rows(name, results)
        measured = [(number, result.model(name)) for number, result in enumerate(results, 1)]
        notes += _differences(name, [(number, model) for number, model in measured if model is not None])
    for number, result in enumerate(results, 1):
        notes += [f"machine {number}: {note}" for note in stability_notes(result.void, result.unstable)]
        notes += [
            f"machine {number}: {model.name} was made for {model.target} and measured on "
            f"{result.host.int8_target}: its accuracy and its speed hold on {result.host.int8_target} alone."
            for model in result.models
            if model.target not in (None, result.host.int8_target)
        ]
        notes += [f"machine {number}: {note}" for note in finetuned_notes(result.models)]
    return Machines(files, results, tuple(rows), tuple(notes))


Times = tuple[Latency, Throughput | None]  # both with the same number of threads


def _rows(name: str, results: Sequence[BenchResult]) -> list[MachineRow]:
    """Make the rows of one model: every machine with the chosen number of threads, then with one thread."""
    measured = [
        (number, result, model)
        for number, result in enumerate(results, 1)
        for model in result.models
        if model.name == name
    ]
    chosen = [
        _row(number, result, model, _by_threads(model)[0], measured[0]) for number, result, model in measured
    ]
    return chosen + [
        _row(number, result, model, times, measured[0])
        for number, result, model in measured
        for times in _by_threads(model)[1:]
    ]


def _by_threads(model: ModelResult) -> list[Times]:
    throughputs = {throughput.threads: throughput for throughput in model.throughputs}
    return [(latency, throughputs.get(latency.threads)) for latency in model.latencies]


def _same_threads(model: ModelResult, latency: Latency, *, chosen: bool) -> Times | None:
    """Find the times of `model` to compare with `latency`.

    If `latency` has the number of threads that was `chosen`, these are the times with the number chosen for
    `model`; otherwise the times with an equal number of threads.
    """
    by_threads = _by_threads(model)
    if chosen:
        return by_threads[0]
    return next((times for times in by_threads if times[0].threads == latency.threads), None)


def _row(
    number: int,
    result: BenchResult,
    model: ModelResult,
    times: Times,
    first: tuple[int, BenchResult, ModelResult],
) -> MachineRow:
    latency, throughput = times
    chosen, valid = latency is model.latency_ms, not result.void
    reference = result.model(result.claim.reference)
    reference_times = _same_threads(reference, latency, chosen=chosen) if reference and valid else None
    same = first[2].sha256 == model.sha256
    first_times = None
    if number != first[0] and same and valid and not first[1].void:
        first_times = _same_threads(first[2], latency, chosen=chosen)
    row = MachineRow(
        model=model.name,
        machine=number,
        threads=latency.threads,
        runtime=model.runtime,
        same_file=same,
        accuracy=model.accuracy,
        accuracy_ci=model.accuracy_ci,
        p50_ms=latency.p50 if valid else None,
        p50_ci=latency.p50_ci if valid else None,
        p90_ms=latency.p90 if valid else None,
        p99_ms=latency.p99 if valid else None,
        to_reference=latency.p50 / reference_times[0].p50 if reference_times else None,
        to_first=latency.p50 / first_times[0].p50 if first_times else None,
        to_first_ci=_quotient(latency.p50_ci, first_times[0].p50_ci) if first_times else None,
        to_reference_ci=latency.ratio_ci if reference_times else None,
    )
    if throughput is None:
        return row
    base = first_times[1] if first_times else None
    if base is not None and base.batch != throughput.batch:
        base = None
    return replace(
        row,
        batch=throughput.batch,
        images_per_s=throughput.images_per_s if valid else None,
        images_per_s_ci=throughput.images_per_s_ci if valid else None,
        images_to_reference=throughput.ratio if valid else None,
        images_to_reference_ci=throughput.ratio_ci if valid else None,
        images_to_first=throughput.images_per_s / base.images_per_s if base else None,
        images_to_first_ci=_quotient(throughput.images_per_s_ci, base.images_per_s_ci) if base else None,
    )


def _quotient(numerator: Interval | None, denominator: Interval | None) -> Interval | None:
    if numerator is None or denominator is None:
        return None
    return numerator[0] / denominator[1], numerator[1] / denominator[0]


def _differences(name: str, measured: Sequence[tuple[int, ModelResult]]) -> list[str]:
    """Write notes on files that differ under the same name, and on equal files with different accuracies."""
    first, original = measured[0]
    notes = []
    for number, model in measured[1:]:
        if model.sha256 != original.sha256:
            notes.append(f"{name}: machine {number} measured another file than machine {first}.")
        elif model.n_images == original.n_images and model.accuracy != original.accuracy:
            accuracy, first_accuracy = percent(model.accuracy, 2), percent(original.accuracy, 2)
            int8 = model.precision == "int8"
            why = "8-bit arithmetic differs between processors." if int8 else "were the test images the same?"
            notes.append(
                f"{name}: the same file has {accuracy} top-1 on machine {number} and {first_accuracy} on "
                f"machine {first}; {why}"
            )
    return notes
