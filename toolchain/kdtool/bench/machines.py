"""Measurements of several machines side by side: bench.json files, wherever they were made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from kdtool.bench.notes import stability_notes
from kdtool.bench.table import MISSING, PLAIN_WIDTH, VOID, milliseconds_cell, plain_table, share_cell
from kdtool.core.benchresult import BenchResult, ModelResult, read_bench
from kdtool.core.errors import UsageError
from kdtool.core.run import RunFolder
from kdtool.core.statistics import Interval
from kdtool.core.text import printable

SCHEMA = 1


@dataclass(frozen=True)
class Row:
    """One model on one machine.

    Attributes:
        machine: its number, from 1.
        same_file: whether the file is that of the first machine that measured a model of this name.
        p50_ms, …: None where they are void.
        to_first, to_first_ci: median latency / that of the first machine with the very same file, whose
            samples are others: the interval divides the ends of both, and is on the safe side.
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


@dataclass(frozen=True)
class Machines:
    """Measurements by their files, the rows by model, and what makes them hard to compare."""

    files: tuple[Path, ...]
    results: tuple[BenchResult, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        machines = [
            {
                "file": str(path),
                "host": asdict(result.host),
                "claim": asdict(result.claim),
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
        found = [
            (number, result, model)
            for number, result in enumerate(results, 1)
            for model in result.models
            if model.name == name
        ]
        first, base, original = found[0]
        rows += [
            _row(number, result, model, None if number == first else (base, original))
            for number, result, model in found
        ]
        notes += _differences(name, [(number, model) for number, _, model in found])
    for number, result in enumerate(results, 1):
        notes += [f"{number}: {note}" for note in stability_notes(result.void, result.unstable)]
    return Machines(files, results, tuple(rows), tuple(notes))


def print_machines(machines: Machines, console: Console | None = None) -> None:
    """Print who measured, what, and the notes to standard output."""
    console = console or Console()
    if not console.is_terminal:
        console.width = max(console.width, PLAIN_WIDTH)
    console.print(_hosts(machines))
    console.print(_rows(machines))
    for note in machines.notes:
        console.print(f"[yellow]Note:[/] {escape(printable(note))}", highlight=False)


def _row(
    number: int, result: BenchResult, model: ModelResult, first: tuple[BenchResult, ModelResult] | None
) -> Row:
    latency, timed = model.latency_ms, not result.void
    reference = result.model(result.claim.reference)
    same = first is None or first[1].sha256 == model.sha256
    to_first, to_first_ci = None, None
    if first is not None and same and timed and not first[0].void:
        other = first[1].latency_ms
        to_first = latency.p50 / other.p50
        if latency.p50_ci and other.p50_ci:
            to_first_ci = (latency.p50_ci[0] / other.p50_ci[1], latency.p50_ci[1] / other.p50_ci[0])
    return Row(
        model=model.name,
        machine=number,
        threads=latency.threads,
        runtime=model.runtime,
        same_file=same,
        accuracy=model.accuracy,
        accuracy_ci=model.accuracy_ci,
        p50_ms=latency.p50 if timed else None,
        p50_ci=latency.p50_ci if timed else None,
        p90_ms=latency.p90 if timed else None,
        p99_ms=latency.p99 if timed else None,
        to_reference=latency.p50 / reference.latency_ms.p50 if reference and timed else None,
        to_first=to_first,
        to_first_ci=to_first_ci,
    )


def _differences(name: str, found: Sequence[tuple[int, ModelResult]]) -> list[str]:
    """What is not the same although it has one name, and what answers otherwise although it is the same."""
    first, original = found[0]
    notes = []
    for number, model in found[1:]:
        if model.sha256 != original.sha256:
            notes.append(f"{name}: {number} measured another file than {first}.")
        elif model.n_images == original.n_images and model.accuracy != original.accuracy:
            here, there = (_top1(one) for one in (model, original))
            why = "8-bit arithmetic differs between processors."
            notes.append(
                f"{name}: the same file has {here} top-1 on {number} and {there} on {first}; "
                + (why if model.precision == "int8" else "were the test images the same?")
            )
    return notes


def _top1(model: ModelResult) -> str:
    return MISSING if model.accuracy is None else f"{100 * model.accuracy:.2f} %"


def _hosts(machines: Machines) -> Table:
    table = plain_table("Machine", "Processor", "Processors used", "System", "onnxruntime", "File")
    for number, (path, result) in enumerate(zip(machines.files, machines.results, strict=True), 1):
        host = result.host
        cells = (
            str(number),
            f"{host.processor} ({host.machine})",
            f"{host.usable} of {host.cores}",
            host.os,
            host.versions.get("onnxruntime", MISSING),
            str(path),
        )
        table.add_row(*(escape(printable(cell)) for cell in cells))
    return table


def _rows(machines: Machines) -> Table:
    titles = ("Machine", "Threads", "Top-1 %", "p50 ms", "p90 ms", "p99 ms", "/ reference %", "/ first %")
    table = plain_table("Model", *titles)
    last = ""
    for row in machines.rows:
        void = machines.results[row.machine - 1].void
        times = (row.p50_ms, row.p50_ci), (row.p90_ms, None), (row.p99_ms, None)
        table.add_row(
            "" if row.model == last else escape(printable(row.model)),
            str(row.machine),
            str(row.threads),
            share_cell(row.accuracy, row.accuracy_ci),
            *([VOID] * 3 if void else [milliseconds_cell(*pair) for pair in times]),
            share_cell(row.to_reference, None),
            share_cell(row.to_first, row.to_first_ci),
        )
        last = row.model
    return table
