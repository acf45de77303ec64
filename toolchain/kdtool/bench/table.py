"""The tables and the verdict on a terminal."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from kdtool.core.benchresult import BenchResult, Latency, ModelResult
from kdtool.core.statistics import Interval
from kdtool.core.text import printable
from kdtool.core.wording import HEADLINES, result_in_words

COLOURS = {"PASS": "green", "FAIL": "red", "INCONCLUSIVE": "yellow"}
PLAIN_WIDTH = 120  # of an output that is no terminal
ANY = 10_000  # columns: more than any table wants
MISSING = "–"
VOID = "void"


def print_table(result: BenchResult, console: Console | None = None) -> None:
    """Print the models, their speed, the verdict with its reasons and the notes to standard output."""
    console = console or Console()
    if not console.is_terminal:
        console.width = max(console.width, PLAIN_WIDTH)
    console.print(_fitted(_models(result), console))
    console.print(_fitted(_speed(result), console))
    verdict = result.claim.verdict
    console.print(f"[bold {COLOURS[verdict]}]{verdict}[/]  {HEADLINES[verdict]}", highlight=False)
    for sentence in result_in_words(result):
        console.print(printable(sentence), markup=False, highlight=False)
    for note in result.notes:
        console.print(f"[yellow]Note:[/] {escape(printable(note))}", highlight=False)


def _fitted(table: Table, console: Console) -> Table:
    """Without lines where the terminal is too narrow for them, so that no interval breaks in its middle."""
    if console.measure(table, options=console.options.update(width=ANY)).maximum > console.width:
        table.box, table.padding = SIMPLE_HEAD, 0
    return table


def _models(result: BenchResult) -> Table:
    table = plain_table("Model", "Top-1 %", "Retention %", "Params M", "GMACs", "GFLOPs", "MB")
    for model in result.models:
        table.add_row(
            escape(printable(model.name)),
            share_cell(model.accuracy, model.accuracy_ci),
            share_cell(model.retention, model.retention_ci),
            _scaled(model.params, 1e6),
            _scaled(model.macs, 1e9),
            _scaled(model.flops, 1e9),
            _scaled(model.size_bytes, 1e6),
        )
    return table


def _speed(result: BenchResult) -> Table:
    """Latency with every number of threads, and what was measured of throughput, cold start and memory.

    A column that nobody has a value for is left out.
    """
    against = printable(result.claim.reference)
    titles = ["Model", "Threads", "p50 ms", "p90 ms", "p99 ms", f"/ {against} %"]
    titles += ["Images/s", "mJ", "Cold ms", "Peak MB"]
    rows = [
        row
        for model in result.models
        for row in (
            _latency_cells(model, model.latency_ms, void=bool(result.void)),
            *(_other_cells(latency, void=bool(result.void)) for latency in model.other_threads),
        )
    ]
    kept = [
        index
        for index in range(len(titles))
        if index < 4 or any(row[index] not in (MISSING, "") for row in rows)
    ]
    table = plain_table(*(titles[index] for index in kept))
    batches = sorted({model.throughput.batch for model in result.models if model.throughput})
    table.caption = "latency of one image, 95 % intervals in parentheses" + (
        f"; images/s in batches of {' or '.join(map(str, batches))}" if batches else ""
    )
    for row in rows:
        table.add_row(*(row[index] for index in kept))
    return table


def plain_table(first: str, *titles: str) -> Table:
    table = Table()
    table.add_column(first, overflow="fold")
    for title in titles:
        table.add_column(escape(title), justify="right", overflow="fold")
    return table


def _latency_cells(model: ModelResult, latency: Latency, *, void: bool) -> tuple[str, ...]:
    offline, own = model.throughput, model.own_process
    ratio = MISSING
    if model.latency_ratio is not None and not void:
        ratio = share_cell(model.latency_ratio, model.latency_ratio_ci)
    return (
        escape(printable(model.name)),
        *_times(latency, void=void),
        ratio,
        MISSING if offline is None else VOID if void else _short(offline.images_per_s),
        MISSING if offline is None or offline.energy_mj is None else _short(offline.energy_mj),
        MISSING if own is None else VOID if void else _short(own.cold_start_ms),
        MISSING if own is None else _scaled(own.peak_bytes, 1e6),
    )


def _other_cells(latency: Latency, *, void: bool) -> tuple[str, ...]:
    return ("", *_times(latency, void=void), *[""] * 5)


def _times(latency: Latency, *, void: bool) -> tuple[str, ...]:
    if void:
        return str(latency.threads), VOID, VOID, VOID if latency.p99 is not None else MISSING
    pairs = ((latency.p50, latency.p50_ci), (latency.p90, latency.p90_ci), (latency.p99, latency.p99_ci))
    return str(latency.threads), *(milliseconds_cell(*pair) for pair in pairs)


def milliseconds_cell(value: float | None, interval: Interval | None) -> str:
    if value is None:
        return MISSING
    if interval is None:
        return f"{value:.2f}"
    return f"{value:.2f} ({interval[0]:.2f}–{interval[1]:.2f})"


def share_cell(value: float | None, interval: Interval | None) -> str:
    if value is None:
        return MISSING
    if interval is None or interval[0] == interval[1]:  # the teacher's retention of itself
        return f"{100 * value:.2f}"
    return f"{100 * value:.2f} ({_range(interval)})"


def _range(interval: Interval) -> str:
    return "–".join(f"{100 * bound:.1f}" for bound in interval)


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _scaled(value: float | None, unit: float) -> str:
    """Three digits at least, so that small networks do not become zeros."""
    if value is None:
        return MISSING
    return f"{value / unit:.2f}" if value >= unit else f"{value / unit:.3g}"
