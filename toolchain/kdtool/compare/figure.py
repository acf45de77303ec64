"""Figure of a comparison as a PNG file (needs matplotlib, part of the training extra)."""

from __future__ import annotations

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg  # no display, no global state
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from kdtool.compare.result import Comparison, Row
from kdtool.core.files import durable

INK, QUIET_INK, TEACHER_INK = "#1d4ed8", "0.55", "#b45309"


def comparison_png(result: Comparison, out: Path) -> None:
    """Draw the test accuracies: a line for each recipe, with a dot for each seed and a bar at the mean.

    Bars of the baselines and a line of the teacher are drawn too. Recipes are in the order of validation
    accuracy, the best on top. `out` is written durably.

    Raises:
        SetupError: `out` cannot be written.
    """
    figure = Figure(figsize=(8, 1.6 + 0.45 * len(result.recipes)), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.axvline(
        result.teacher_test, color=TEACHER_INK, linestyle="--", linewidth=1,
        label=f"teacher, {_plain(result.teacher_arch)}",
    )  # fmt: skip
    baselines = {row.name: row for row in result.baselines}
    for place, row in enumerate(result.recipes):
        baseline = baselines.get(row.baseline or "")
        if baseline is not None and baseline.test is not None:
            axes.plot(
                [baseline.test.mean] * 2, [place - 0.4, place + 0.4], color=QUIET_INK,
                label="mean of its baseline" if place == 0 else None,
            )  # fmt: skip
        tests = _tests(row)
        axes.plot(tests, [place] * len(tests), ".", color=INK, label="one seed" if place == 0 else None)
        if row.test is not None:
            axes.plot(
                [row.test.mean] * 2, [place - 0.2, place + 0.2], color=INK, linewidth=2,
                label="mean" if place == 0 else None,
            )  # fmt: skip
    axes.set_yticks(range(len(result.recipes)), [_plain(row.name) for row in result.recipes])
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel(f"Top-1 accuracy on {result.test_images:,} test images")
    axes.grid(visible=True, axis="x", color="0.92")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False)
    with durable(out) as partial:
        # Without the metadata the bytes are a function of the result alone.
        figure.savefig(partial, format="png", metadata={"Software": None})


def _tests(row: Row) -> list[float]:
    return [run.test for run in row.runs if run.test is not None]


def _plain(text: str) -> str:
    return text.replace("$", r"\$")  # a dollar sign would start a formula
