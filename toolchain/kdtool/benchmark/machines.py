"""Measurements of several machines side by side: bench.json files, wherever they were made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from kdtool.benchmark.notes import finetuned_notes, stability_notes
from kdtool.core.errors import UsageError
from kdtool.results.bench import BenchResult, Latency, ModelResult, Throughput, read_bench
from kdtool.results.figures import percent
from kdtool.results.statistics import Interval
from kdtool.runs.folder import RunFolder

SCHEMA = 1


@dataclass(frozen=True)
class MachineRow:
    """One model on one machine, with one number of threads.

    Attributes:
        machine: its number, from 1.
        same_file: whether the file is that of the first machine that measured a model of this name.
        p50_ms, …: None where they are void.
        to_reference, to_reference_ci: median latency / that of the reference on the same machine.
        to_first, to_first_ci: median latency / that of the first machine with the very same file, whose
            samples are others: the interval divides the ends of both, and is on the safe side. Threads
            asked for are held against threads asked for, one thread against one.
        batch: images at a time; None where throughput was not measured.
        images_to_first, images_to_first_ci: of images per second, where batches are as large.
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
    """Measurements by their files, the rows by model, and what makes them hard to compare."""

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
    """Read bench.json files, or those of run folders.

    Raises:
        UsageError: none is named, one is named twice, or one is no result of bench.
    """
    files = tuple(RunFolder(path).bench if path.is_dir() else path for path in targets)
    if not files:
        raise UsageError(
            "--compare wants bench.json files, or folders of runs.",
            "For instance: kdtool bench --compare artifacts/paper/bench.json pi/bench.json",
        )
    twice = [str(path) for path in dict.fromkeys(files) if files.count(path) > 1]
    if twice:
        raise UsageError(f"{', '.join(twice)}: named twice.", "Name each file once.")
    results = tuple(read_bench(path) for path in files)
    names = list(dict.fromkeys(model.name for result in results for model in result.models))
    rows, notes = [], []
    for name in names:
        rows += _rows(name, results)
        found = [(number, result.model(name)) for number, result in enumerate(results, 1)]
        notes += _differences(name, [(number, model) for number, model in found if model is not None])
    for number, result in enumerate(results, 1):
        notes += [f"{number}: {note}" for note in stability_notes(result.void, result.unstable)]
        notes += [
            f"{number}: {model.name} was made for {model.target} and measured on {result.host.int8_target}: "
            "its accuracy and speed are those of the latter alone."
            for model in result.models
            if model.target not in (None, result.host.int8_target)
        ]
        notes += [f"{number}: {note}" for note in finetuned_notes(result.models)]
    return Machines(files, results, tuple(rows), tuple(notes))


Times = tuple[Latency, Throughput | None]  # with one number of threads


def _rows(name: str, results: Sequence[BenchResult]) -> list[MachineRow]:
    """Of one model: on each machine with the threads asked for, then on each with one alone."""
    found = [
        (number, result, model)
        for number, result in enumerate(results, 1)
        for model in result.models
        if model.name == name
    ]
    asked = [_row(number, result, model, _by_threads(model)[0], found[0]) for number, result, model in found]
    return asked + [
        _row(number, result, model, timed, found[0])
        for number, result, model in found
        for timed in _by_threads(model)[1:]
    ]


def _by_threads(model: ModelResult) -> list[Times]:
    offline = {one.threads: one for one in model.throughputs}
    return [(latency, offline.get(latency.threads)) for latency in model.latencies]


def _same_threads(model: ModelResult, latency: Latency, *, asked: bool) -> Times | None:
    """What to hold a time against: as many threads as were asked for, whatever their number, or as many."""
    times = _by_threads(model)
    return times[0] if asked else next((one for one in times if one[0].threads == latency.threads), None)


def _row(
    number: int,
    result: BenchResult,
    model: ModelResult,
    timed: Times,
    first: tuple[int, BenchResult, ModelResult],
) -> MachineRow:
    latency, offline = timed
    asked, counts = latency is model.latency_ms, not result.void
    reference = result.model(result.claim.reference)
    beside = _same_threads(reference, latency, asked=asked) if reference and counts else None
    same = first[2].sha256 == model.sha256
    base = None
    if number != first[0] and same and counts and not first[1].void:
        base = _same_threads(first[2], latency, asked=asked)
    row = MachineRow(
        model=model.name,
        machine=number,
        threads=latency.threads,
        runtime=model.runtime,
        same_file=same,
        accuracy=model.accuracy,
        accuracy_ci=model.accuracy_ci,
        p50_ms=latency.p50 if counts else None,
        p50_ci=latency.p50_ci if counts else None,
        p90_ms=latency.p90 if counts else None,
        p99_ms=latency.p99 if counts else None,
        to_reference=latency.p50 / beside[0].p50 if beside else None,
        to_first=latency.p50 / base[0].p50 if base else None,
        to_first_ci=_quotient(latency.p50_ci, base[0].p50_ci) if base else None,
        to_reference_ci=latency.ratio_ci if beside else None,
    )
    if offline is None:
        return row
    there = base[1] if base else None
    comparable = there is not None and there.batch == offline.batch
    return replace(
        row,
        batch=offline.batch,
        images_per_s=offline.images_per_s if counts else None,
        images_per_s_ci=offline.images_per_s_ci if counts else None,
        images_to_reference=offline.ratio if counts else None,
        images_to_reference_ci=offline.ratio_ci if counts else None,
        images_to_first=offline.images_per_s / there.images_per_s if there and comparable else None,
        images_to_first_ci=(
            _quotient(offline.images_per_s_ci, there.images_per_s_ci) if there and comparable else None
        ),
    )


def _quotient(ours: Interval | None, theirs: Interval | None) -> Interval | None:
    return (ours[0] / theirs[1], ours[1] / theirs[0]) if ours and theirs else None


def _differences(name: str, found: Sequence[tuple[int, ModelResult]]) -> list[str]:
    """What is not the same although it has one name, and what answers otherwise although it is the same."""
    first, original = found[0]
    notes = []
    for number, model in found[1:]:
        if model.sha256 != original.sha256:
            notes.append(f"{name}: {number} measured another file than {first}.")
        elif model.n_images == original.n_images and model.accuracy != original.accuracy:
            here, there = (percent(one.accuracy, 2) for one in (model, original))
            why = "8-bit arithmetic differs between processors."
            notes.append(
                f"{name}: the same file has {here} top-1 on {number} and {there} on {first}; "
                + (why if model.precision == "int8" else "were the test images the same?")
            )
    return notes
