"""Print the measurements of several machines on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from kdtool.benchmark.machines import Machines
from kdtool.benchmark.tables.models import PLAIN_WIDTH, VOID, fitted, plain_table
from kdtool.core.text import printable
from kdtool.results.figures import MISSING, milliseconds, per_second, share


def print_machines(machines: Machines, console: Console | None = None) -> None:
    """Print the machines, their measurements and the notes to standard output."""
    console = console or Console()
    if not console.is_terminal:
        console.width = max(console.width, PLAIN_WIDTH)
    tables = [_hosts(machines), _latencies(machines)]
    if any(row.batch for row in machines.rows):
        tables.append(_throughputs(machines))
    for table in tables:
        console.print(fitted(table, console))
    for note in machines.notes:
        console.print(f"[yellow]Note:[/] {escape(printable(note))}", highlight=False)


def _hosts(machines: Machines) -> Table:
    table = plain_table(
        "Machine", "Processor", "INT8 kind", "Processors used", "System", "onnxruntime", "File"
    )
    for number, (path, result) in enumerate(zip(machines.files, machines.results, strict=True), 1):
        host = result.host
        cells = (
            str(number),
            f"{host.processor} ({host.machine})",
            host.int8_target,
            f"{host.usable} of {host.cores}",
            host.os,
            host.versions.get("onnxruntime", MISSING),
            str(path),
        )
        table.add_row(*(escape(printable(cell)) for cell in cells))
    return table


def _latencies(machines: Machines) -> Table:
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
            share(row.accuracy, row.accuracy_ci),
            *([VOID] * 3 if void else [milliseconds(*pair) for pair in times]),
            share(row.to_reference, row.to_reference_ci),
            share(row.to_first, row.to_first_ci),
        )
        last = row.model
    table.caption = "latency of one image, 95 % intervals in parentheses"
    return table


def _throughputs(machines: Machines) -> Table:
    titles = ("Machine", "Threads", "Batch", "Images/s", "/ reference %", "/ first %")
    table = plain_table("Model", *titles)
    last = ""
    for row in machines.rows:
        if row.batch is None:
            continue
        void = machines.results[row.machine - 1].void
        table.add_row(
            "" if row.model == last else escape(printable(row.model)),
            str(row.machine),
            str(row.threads),
            str(row.batch),
            VOID if void else per_second(row.images_per_s, row.images_per_s_ci),
            share(row.images_to_reference, row.images_to_reference_ci),
            share(row.images_to_first, row.images_to_first_ci),
        )
        last = row.model
    table.caption = "throughput of batches, 95 % intervals in parentheses"
    return table
