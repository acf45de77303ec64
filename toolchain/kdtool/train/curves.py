"""Training curves as a PNG file (needs matplotlib, part of the training extra)."""

from __future__ import annotations

from pathlib import Path

from kdtool.core.errors import missing_extra
from kdtool.core.files import durable
from kdtool.results.history import read_history


def curves_png(history: Path, out: Path, title: str) -> None:
    """Draw loss and accuracy over the epochs for training and validation images.

    The epoch with the best validation accuracy, whose weights were kept, is marked.

    Args:
        history: file history.csv of a training.
        out: PNG file, written durably.

    Raises:
        SetupError: matplotlib is not installed, or `out` cannot be written.
        DataError: `history` is not a training history.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg  # no display, no global state
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator, PercentFormatter
    except ImportError as error:
        raise missing_extra("matplotlib", "Drawing curves.png") from error

    record = read_history(history)
    best = record.best
    figure = Figure(figsize=(10, 4), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title.replace("$", r"\$"), fontsize=12)  # a dollar sign would start a formula
    panels = (
        ("Loss", record.train_loss, record.validation_loss),
        ("Top-1 accuracy", record.train_accuracy, record.validation_accuracy),
    )
    for axes, (label, train, validation) in zip(figure.subplots(1, 2), panels, strict=True):
        axes.plot(record.epochs, train, color="#b45309", linestyle="--", marker=".", label="training")
        axes.plot(record.epochs, validation, color="#1d4ed8", marker=".", label="validation")
        axes.axvline(record.epochs[best], color="0.5", linewidth=0.8, linestyle=":")
        axes.plot(
            record.epochs[best], validation[best], "o", color="#1d4ed8", fillstyle="none", markersize=10,
            label=f"best epoch, {record.epochs[best]}",
        )  # fmt: skip
        axes.set_xlabel("Epoch")
        axes.set_ylabel(label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(visible=True, color="0.92")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
        if label != "Loss":
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    with durable(out) as partial:
        # Without the metadata the bytes are a function of the history alone.
        figure.savefig(partial, format="png", metadata={"Software": None})
