"""Print the tables of measured models and the verdict on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from kdtool.core.text import printable
from kdtool.results.bench import BenchResult, Latency, OwnProcess, Throughput
from kdtool.results.figures import (
    MISSING,
    difference,
    milliseconds,
    per_second,
    points,
    scaled,
    share,
    short,
)
from kdtool.results.shipping import shipping_in_words
from kdtool.results.wording import HEADLINES, result_in_words

COLOURS = {"PASS": "green", "FAIL": "red", "INCONCLUSIVE": "yellow"}
PLAIN_WIDTH = 120  # columns of an output that is not a terminal
UNLIMITED_WIDTH = 10_000  # columns: more than any table needs
VOID = "void"
PAIRS = 10  # the pairs of the five models of a run


def print_table(result: BenchResult, console: Console | None = None, run: Path | None = None) -> None:
    """Print the models, their speed, notes, the model to ship, and the verdict with its reasons.

    Args:
        run: folder of the run; without it, no model is named to be shipped.
    """
    console = console or Console()
    if not console.is_terminal:
        console.width = max(console.width, PLAIN_WIDTH)
    tables = [_models(result)]
    if any(model.macro_f1 is not None for model in result.models):
        tables.append(_classes(result))
    tables.append(_speed(result))
    if any(model.throughputs for model in result.models):
        tables.append(_throughput(result))
    if result.differences:
        tables.append(_differences(result))
    for table in tables:
        console.print(fitted(table, console))
    for note in result.notes:
        console.print(f"[yellow]Note:[/] {escape(printable(note))}", highlight=False)
    first, *more = shipping_in_words(result, run) if run is not None else ("",)
    if first:
        console.print(f"\n[bold]{escape(printable(first))}[/]", highlight=False, soft_wrap=True)
        for sentence in more:
            console.print(printable(sentence), markup=False, highlight=False, soft_wrap=True)
        console.print()
    verdict = result.claim.verdict
    if verdict is not None:
        console.print(f"[bold {COLOURS[verdict]}]{verdict}[/]  {HEADLINES[verdict]}", highlight=False)
    for sentence in result_in_words(result):
        console.print(printable(sentence), markup=False, highlight=False)


def fitted(table: Table, console: Console) -> Table:
    """Remove the lines of a table that is too wide for the terminal, so that no interval is broken in two."""
    if console.measure(table, options=console.options.update(width=UNLIMITED_WIDTH)).maximum > console.width:
        table.box, table.padding = SIMPLE_HEAD, 0
    return table


def _models(result: BenchResult) -> Table:
    table = plain_table("Model", "Top-1 %", "Retention %", "Params M", "GMACs", "GFLOPs", "MB")
    for model in result.models:
        table.add_row(
            escape(printable(model.name)),
            share(model.accuracy, model.accuracy_ci),
            share(model.retention, model.retention_ci),
            scaled(model.params, 1e6),
            scaled(model.macs, 1e9),
            scaled(model.flops, 1e9),
            scaled(model.size_bytes, 1e6),
        )
    return table


def _classes(result: BenchResult) -> Table:
    """Make the table of the figures that count every class alike."""
    table = plain_table("Model", "Top-1 %", "Balanced accuracy %", "Macro-F1 %")
    for model in result.models:
        table.add_row(
            escape(printable(model.name)),
            points(model.accuracy, 2),
            share(model.balanced_accuracy, model.balanced_accuracy_ci),
            share(model.macro_f1, model.macro_f1_ci),
        )
    table.caption = "balanced accuracy and macro-F1 count every class alike, however few images it has"
    return table


def _speed(result: BenchResult) -> Table:
    """Make the table of latency with every number of threads, cold start and memory."""
    reference = printable(result.claim.reference)
    titles = ["Model", "Threads", "p50 ms", "p90 ms", "p99 ms", f"/ {reference} %", "Cold ms", "Peak MB"]
    void = bool(result.void)
    rows = []
    for model in result.models:
        starts = _start_cells(model.own_process, void=void)
        rows.append((escape(printable(model.name)), *_latency_cells(model.latency_ms, void=void), *starts))
        rows += [("", *_latency_cells(other, void=void), "", "") for other in model.other_threads]
    return _full_columns(titles, rows, f"latency of one image {_where(result)}")


def _throughput(result: BenchResult) -> Table:
    """Make the table of images per second in batches, with every number of threads."""
    titles = ["Model", "Threads", "Batch", "Images/s", f"/ {printable(result.claim.reference)} %", "mJ/image"]
    void = bool(result.void)
    rows = [
        ("" if number else escape(printable(model.name)), *_throughput_cells(throughput, void=void))
        for model in result.models
        for number, throughput in enumerate(model.throughputs)
    ]
    return _full_columns(titles, rows, f"throughput {_where(result)}")


def _differences(result: BenchResult) -> Table:
    """Make the table of every pair; if there are too many, only of the pairs with the reference."""
    pairs, reference = result.differences, result.claim.reference
    with_reference = [pair for pair in pairs if reference in (pair.model, pair.against)]
    shown = pairs if len(pairs) <= PAIRS else with_reference or pairs[:PAIRS]
    titles = ("Against", "Top-1 pp", "Retention %", "Right alone", "p", "p (Holm)")
    table = plain_table("Model", *titles)
    for pair in shown:
        table.add_row(
            escape(printable(pair.model)),
            escape(printable(pair.against)),
            difference(pair.points, pair.points_ci),
            share(pair.retention, pair.retention_ci),
            f"{pair.model_only} : {pair.against_only}",
            f"{pair.p:.2g}",
            f"{pair.p_holm:.2g}",
        )
    rest = f"; {len(pairs) - len(shown)} more with --json" if len(shown) < len(pairs) else ""
    table.caption = (
        f"the same {pairs[0].n_images:,} images, 95 % intervals in parentheses; pp: percentage points; "
        f"p: exact McNemar test{rest}"
    )
    return table


def _where(result: BenchResult) -> str:
    return f"on {escape(printable(str(result.host)))}, 95 % intervals in parentheses"


def _full_columns(titles: Sequence[str], rows: Sequence[tuple[str, ...]], caption: str) -> Table:
    """Make a table without the columns that have no value in any row; the first four columns always stay."""
    kept = [
        index
        for index in range(len(titles))
        if index < 4 or any(row[index] not in (MISSING, "") for row in rows)
    ]
    table = plain_table(*(titles[index] for index in kept))
    table.caption = caption
    for row in rows:
        table.add_row(*(row[index] for index in kept))
    return table


def plain_table(first: str, *titles: str) -> Table:
    """Make an empty table; all columns but the first are aligned on the right."""
    table = Table()
    table.add_column(first, overflow="fold")
    for title in titles:
        table.add_column(escape(title), justify="right", overflow="fold")
    return table


def _latency_cells(latency: Latency, *, void: bool) -> tuple[str, ...]:
    if void:
        times = VOID, VOID, VOID if latency.p99 is not None else MISSING
    else:
        times = (
            milliseconds(latency.p50, latency.p50_ci),
            milliseconds(latency.p90, latency.p90_ci),
            milliseconds(latency.p99, latency.p99_ci),
        )
    return str(latency.threads), *times, MISSING if void else share(latency.ratio, latency.ratio_ci)


def _start_cells(process: OwnProcess | None, *, void: bool) -> tuple[str, str]:
    if process is None:
        return MISSING, MISSING
    return VOID if void else short(process.cold_start_ms), scaled(process.peak_bytes, 1e6)


def _throughput_cells(throughput: Throughput, *, void: bool) -> tuple[str, ...]:
    return (
        str(throughput.threads),
        str(throughput.batch),
        VOID if void else per_second(throughput.images_per_s, throughput.images_per_s_ci),
        MISSING if void else share(throughput.ratio, throughput.ratio_ci),
        short(throughput.energy_mj),
    )
