"""Table of a comparison for the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from kdtool.compare.result import Comparison, Difference, Row, SeedMean
from kdtool.core.text import printable
from kdtool.results.figures import MISSING, difference, fixed, points

PLAIN_WIDTH = 150  # characters, if the output is not a terminal


def print_comparison(result: Comparison, console: Console | None = None) -> None:
    """Print teacher, baselines, recipes, the best recipe on validation and the notes to standard output."""
    console = console or Console()
    if not console.is_terminal:
        console.width = max(console.width, PLAIN_WIDTH)
    console.print(_table(result))
    best = [row for row in result.recipes if row.best]
    for row in best:
        equal = " (equal)" if len(best) > 1 else ""
        gained = ""
        if row.gain is not None:
            gained = f" Test accuracy against its baseline: {_difference(row.gain)} percentage points."
        console.print(
            f"Best on validation{equal}: [bold green]{_shown(row.name)}[/].{gained}", highlight=False
        )
    for note in result.notes:
        console.print(f"[yellow]Note:[/] {_shown(note)}", highlight=False)


def _table(result: Comparison) -> Table:
    kd = result.plain_kd
    seeds = ", ".join(map(str, result.seeds))
    table = Table(
        caption=f"seeds {seeds}; {result.test_images:,} test images; ± sample standard deviation over seeds; "
        "differences in percentage points, paired by seed, with the 95 % interval by Student's t; seconds of "
        "one training, without stored soft labels, with the teacher if it computes in each step"
    )
    table.add_column("Recipe", overflow="fold")
    titles = [
        "Validation %",
        "Test %",
        "Balanced %",
        "F1 %",
        "vs baseline",
        *([f"vs {', '.join(kd)}"] if kd else []),
        "Gap closed %",
    ]
    for title in (*titles, "Seconds", "Epochs"):
        table.add_column(_shown(title), justify="right", overflow="fold")
    by_class = (result.teacher_test_balanced_accuracy, result.teacher_test_macro_f1)
    teacher = [points(value, 2) for value in (result.teacher_validation, result.teacher_test, *by_class)]
    table.add_row(f"teacher ({_shown(result.teacher_arch)})", *teacher, *[MISSING] * (len(titles) - 2))
    for row in (*result.probes, *result.baselines):
        table.add_row(_shown(result.title(row)), *_cells(row, bool(kd)))
    table.add_section()
    for row in result.recipes:
        name = _shown(row.name)
        table.add_row(f"[bold]{name} *[/]" if row.best else name, *_cells(row, bool(kd)))
    return table


def _cells(row: Row, has_kd: bool) -> tuple[str, ...]:
    failed = sum(1 for run in row.runs if run.failed)
    failures = f" ({failed} of {len(row.runs)} failed)" if failed else ""
    return (
        _mean(row.validation),
        _mean(row.test) + failures if row.test else "failed",
        *(_one(mean) for mean in (row.test_balanced_accuracy, row.test_macro_f1)),
        _difference(row.gain),
        *([_difference(row.over_kd)] if has_kd else []),
        points(row.gap_closed, 0),
        fixed(row.seconds, 1),
        str(row.budget),
    )


def _mean(mean: SeedMean | None) -> str:
    if mean is None:
        return MISSING
    spread = "" if mean.sd is None else f" ± {points(mean.sd, 2)}"
    return points(mean.mean, 2) + spread


def _one(mean: SeedMean | None) -> str:
    """Mean without its spread; the files have it."""
    return MISSING if mean is None else points(mean.mean, 2)


def _difference(gain: Difference | None) -> str:
    return MISSING if gain is None else difference(gain.points, gain.seeds_ci)


def _shown(text: str) -> str:
    return escape(printable(text))
