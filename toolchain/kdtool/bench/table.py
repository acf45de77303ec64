"""The table and the verdict on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from kdtool.core.benchresult import BenchResult, ModelResult
from kdtool.core.statistics import Interval
from kdtool.core.text import printable
from kdtool.core.wording import HEADLINES, result_in_words

COLOURS = {"PASS": "green", "FAIL": "red", "INCONCLUSIVE": "yellow"}
PLAIN_WIDTH = 120  # of an output that is no terminal
MISSING = "–"


def print_table(result: BenchResult, console: Console | None = None) -> None:
    """Print the models, the verdict with its reasons and the notes to standard output."""
    console = console or Console()
    if not console.is_terminal:
        console.width = max(console.width, PLAIN_WIDTH)
    console.print(_table(result))
    verdict = result.claim.verdict
    console.print(f"[bold {COLOURS[verdict]}]{verdict}[/]  {HEADLINES[verdict]}", highlight=False)
    for sentence in result_in_words(result):
        console.print(printable(sentence), markup=False, highlight=False)
    for note in result.notes:
        console.print(f"[yellow]Note:[/] {escape(printable(note))}", highlight=False)


def _table(result: BenchResult) -> Table:
    threads = sorted({model.latency_ms.threads for model in result.models})
    table = Table(caption=f"latency of one image, {' or '.join(map(str, threads))} thread(s)")
    table.add_column("Model", overflow="fold")
    for title in ("Top-1 %", "Retention %", "Params M", "GMACs", "GFLOPs", "MB", "p50 ms", "p90 ms"):
        table.add_column(title, justify="right", overflow="fold")
    for model in result.models:
        table.add_row(*_cells(model))
    return table


def _cells(model: ModelResult) -> tuple[str, ...]:
    return (
        escape(printable(model.name)),
        _with_range(model.accuracy, model.accuracy_ci),
        _with_range(model.retention, model.retention_ci),
        _scaled(model.params, 1e6),
        _scaled(model.macs, 1e9),
        _scaled(model.flops, 1e9),
        _scaled(model.size_bytes, 1e6),
        f"{model.latency_ms.p50:.2f}",
        f"{model.latency_ms.p90:.2f}",
    )


def _with_range(value: float | None, interval: Interval | None) -> str:
    if value is None:
        return MISSING
    if interval is None or interval[0] == interval[1]:  # the teacher's retention of itself
        return f"{100 * value:.2f}"
    return f"{100 * value:.2f} ({_range(interval)})"


def _range(interval: Interval) -> str:
    return "–".join(f"{100 * bound:.1f}" for bound in interval)


def _scaled(value: float | None, unit: float) -> str:
    """Three digits at least, so that small networks do not become zeros."""
    if value is None:
        return MISSING
    return f"{value / unit:.2f}" if value >= unit else f"{value / unit:.3g}"
