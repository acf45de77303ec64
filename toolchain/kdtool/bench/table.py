"""The table and the verdict on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from kdtool.bench.result import BenchResult, Gain, ModelResult
from kdtool.core.statistics import Interval, Verdict
from kdtool.core.text import printable

COLOURS = {"PASS": "green", "FAIL": "red", "INCONCLUSIVE": "yellow"}
PLAIN_WIDTH = 120  # of an output that is no terminal
MISSING = "–"


def print_table(result: BenchResult, console: Console | None = None) -> None:
    """Print the models, the verdict, the gain of distillation and the notes to standard output."""
    console = console or Console()
    if not console.is_terminal:
        console.width = max(console.width, PLAIN_WIDTH)
    console.print(_table(result))
    colour = COLOURS[result.claim.verdict]
    console.print(
        f"[bold {colour}]{result.claim.verdict}[/]  {escape(verdict_in_words(result.claim))}", highlight=False
    )
    if result.model("student") is not None:
        console.print(escape(gain_in_words(result)), highlight=False)
    for note in result.notes:
        console.print(f"[yellow]Note:[/] {escape(printable(note))}", highlight=False)


def verdict_in_words(claim: Verdict) -> str:
    """What was measured against what was wanted, and what is missing for a decision."""
    wanted = claim.thresholds
    parts = []
    if claim.retention is not None and claim.retention_ci is not None:
        parts.append(
            f"the student keeps {_percent(claim.retention)} of the teacher's accuracy "
            f"({_percent(wanted.confidence, 0)} interval {_range(claim.retention_ci)} %, "
            f"wanted at least {_percent(wanted.min_retention)})"
        )
    else:
        parts.append("retention was not measured (it takes a teacher, a student and test images)")
    if claim.compute_ratio is not None:
        parts.append(
            f"at {_percent(claim.compute_ratio)} of its compute "
            f"(wanted at most {_percent(wanted.max_compute)})"
        )
    else:
        parts.append("the ratio of compute is not known")
    if claim.params_ratio is not None:
        parts.append(f"with {_percent(claim.params_ratio)} of its parameters")
    text = ", ".join(parts) + "."
    if claim.images_needed is not None:
        text += f" About {claim.images_needed:,} test images would decide, if the estimate stays where it is."
    return text[0].upper() + text[1:]


def gain_in_words(result: BenchResult) -> str:
    """What distillation added, or why that cannot be said."""
    gain: Gain | None = result.gain
    if gain is None:
        return "What the teacher added is not stated: there is no student trained without it. Use --baseline."
    return (
        f"Distillation changed the student's accuracy by {gain.points:+.2f} points over the baseline "
        f"(alone right on {gain.student_only} and {gain.baseline_only} images; McNemar p = {gain.p:.2g})."
    )


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


def _percent(value: float, digits: int = 1) -> str:
    return f"{100 * value:.{digits}f} %"


def _scaled(value: float | None, unit: float) -> str:
    """Three digits at least, so that small networks do not become zeros."""
    if value is None:
        return MISSING
    return f"{value / unit:.2f}" if value >= unit else f"{value / unit:.3g}"
