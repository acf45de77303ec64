"""The tables and the verdict on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from kdtool.core.text import printable
from kdtool.results.bench import BenchResult, Latency, ModelResult, Throughput
from kdtool.results.statistics import Interval
from kdtool.results.wording import HEADLINES, result_in_words

COLOURS = {"PASS": "green", "FAIL": "red", "INCONCLUSIVE": "yellow"}
PLAIN_WIDTH = 120  # of an output that is no terminal
ANY = 10_000  # columns: more than any table wants
MISSING = "–"
VOID = "void"
PAIRS = 10  # of the five models of a run


def print_table(result: BenchResult, console: Console | None = None) -> None:
    """Print the models, their speed, the verdict with its reasons and the notes to standard output."""
    console = console or Console()
    if not console.is_terminal:
        console.width = max(console.width, PLAIN_WIDTH)
    tables = [_models(result), _speed(result)]
    if any(model.throughputs for model in result.models):
        tables.append(_throughput(result))
    if result.differences:
        tables.append(_differences(result))
    for table in tables:
        console.print(fitted(table, console))
    verdict = result.claim.verdict
    console.print(f"[bold {COLOURS[verdict]}]{verdict}[/]  {HEADLINES[verdict]}", highlight=False)
    for sentence in result_in_words(result):
        console.print(printable(sentence), markup=False, highlight=False)
    for note in result.notes:
        console.print(f"[yellow]Note:[/] {escape(printable(note))}", highlight=False)


def fitted(table: Table, console: Console) -> Table:
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
    """Latency with every number of threads, and what was measured of cold start and memory."""
    against = printable(result.claim.reference)
    titles = ["Model", "Threads", "p50 ms", "p90 ms", "p99 ms", f"/ {against} %", "Cold ms", "Peak MB"]
    rows = [
        row
        for model in result.models
        for row in (
            _latency_cells(model, model.latency_ms, void=bool(result.void)),
            *(_other_cells(latency, void=bool(result.void)) for latency in model.other_threads),
        )
    ]
    return _full_columns(titles, rows, f"latency of one image {_where(result)}")


def _throughput(result: BenchResult) -> Table:
    """Images per second in batches, with every number of threads."""
    titles = ["Model", "Threads", "Batch", "Images/s", f"/ {printable(result.claim.reference)} %", "mJ/image"]
    rows = [
        ("" if number else escape(printable(model.name)), *_throughput_cells(one, void=bool(result.void)))
        for model in result.models
        for number, one in enumerate(model.throughputs)
    ]
    return _full_columns(titles, rows, f"throughput {_where(result)}")


def _differences(result: BenchResult) -> Table:
    """Every pair; where there are more than can be read, those with the reference."""
    pairs, reference = result.differences, result.claim.reference
    with_it = [pair for pair in pairs if reference in (pair.model, pair.against)]
    shown = pairs if len(pairs) <= PAIRS else with_it or pairs[:PAIRS]
    titles = ("Against", "Points", "Retention %", "Right alone", "p", "p (Holm)")
    table = plain_table("Model", *titles)
    for pair in shown:
        table.add_row(
            escape(printable(pair.model)),
            escape(printable(pair.against)),
            f"{pair.points:+.2f} ({pair.points_ci[0]:+.1f} to {pair.points_ci[1]:+.1f})",
            share_cell(pair.retention, pair.retention_ci),
            f"{pair.model_only} : {pair.against_only}",
            f"{pair.p:.2g}",
            f"{pair.p_holm:.2g}",
        )
    rest = f"; {len(pairs) - len(shown)} more with --json" if len(shown) < len(pairs) else ""
    table.caption = (
        f"the same {pairs[0].n_images:,} images, 95 % intervals in parentheses; p: exact McNemar{rest}"
    )
    return table


def _where(result: BenchResult) -> str:
    return f"on {escape(printable(str(result.host)))}, 95 % intervals in parentheses"


def _full_columns(titles: Sequence[str], rows: Sequence[tuple[str, ...]], caption: str) -> Table:
    """A table without the columns that nobody has a value for, its first four apart."""
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
    table = Table()
    table.add_column(first, overflow="fold")
    for title in titles:
        table.add_column(escape(title), justify="right", overflow="fold")
    return table


def _latency_cells(model: ModelResult, latency: Latency, *, void: bool) -> tuple[str, ...]:
    own = model.own_process
    ratio = MISSING
    if model.latency_ratio is not None and not void:
        ratio = share_cell(model.latency_ratio, model.latency_ratio_ci)
    return (
        escape(printable(model.name)),
        *_times(latency, void=void),
        ratio,
        MISSING if own is None else VOID if void else _short(own.cold_start_ms),
        MISSING if own is None else _scaled(own.peak_bytes, 1e6),
    )


def _other_cells(latency: Latency, *, void: bool) -> tuple[str, ...]:
    return (
        "",
        *_times(latency, void=void),
        MISSING if void else share_cell(latency.ratio, latency.ratio_ci),
        "",
        "",
    )


def _throughput_cells(one: Throughput, *, void: bool) -> tuple[str, ...]:
    return (
        str(one.threads),
        str(one.batch),
        VOID if void else per_second_cell(one.images_per_s, one.images_per_s_ci),
        MISSING if void else share_cell(one.ratio, one.ratio_ci),
        MISSING if one.energy_mj is None else _short(one.energy_mj),
    )


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


def per_second_cell(value: float | None, interval: Interval | None) -> str:
    if value is None:
        return MISSING
    return _short(value) + (f" ({_short(interval[0])}–{_short(interval[1])})" if interval else "")


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
