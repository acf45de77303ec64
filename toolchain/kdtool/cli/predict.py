"""`kdtool predict`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kdtool.cli.options import json_option
from kdtool.core.errors import DataError, UsageError

if TYPE_CHECKING:
    from kdtool.api.model import Model


@click.command()
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...", type=click.Path(path_type=Path))
@click.option(
    "--model",
    metavar="FILE.onnx",
    type=click.Path(path_type=Path),
    help="Model to classify with.  [default: the student of the newest run]",
)
@click.option(
    "--top", type=click.IntRange(1), default=1, show_default=True, help="Number of classes for each image."
)
@json_option
def command(images: tuple[Path, ...], model: Path | None, top: int, as_json: bool) -> None:
    """Classify photographs with an exported model.

    IMAGE is a photograph or a folder, which is searched at any depth. The output is path, class and
    probability. A photograph that cannot be read, or a folder without photographs, is reported; all others
    are classified, and the exit code is 3.
    """
    from kdtool.api.model import Model
    from kdtool.core.text import printable
    from kdtool.machine.terminal import open_screen
    from kdtool.runs.folder import newest_run
    from kdtool.runtime.onnxruntime import open_model

    screen = open_screen()
    if model is None:
        model = newest_run().onnx_model("student")
        screen.say(f"Model: {model}.")
    session = open_model(model)
    if session.info is None:
        raise UsageError(
            f"{model} states neither its classes nor its preprocessing.",
            "Name a model made by: kdtool export --onnx",
        )
    classifier = Model(session, session.info)
    printed, bad = [], 0
    for path in _photographs(images):
        try:
            classes = _classify(classifier, path, top)
        except DataError as error:
            bad += 1
            screen.warn(printable(error.message))
            continue
        if as_json:
            likeliest = [{"class": name, "probability": round(share, 6)} for name, share in classes]
            printed.append({"path": str(path), "classes": likeliest})
            continue
        for name, probability in classes:
            click.echo(f"{printable(str(path))}\t{printable(name)}\t{probability:.4f}")
    if as_json:
        click.echo(json.dumps(printed, indent=2))
    if bad:
        raise DataError(
            f"{bad} photograph(s) or folder(s) cannot be read; the others are classified.",
            "Repair them, or leave them out.",
        )


def _photographs(paths: tuple[Path, ...]) -> Iterator[Path]:
    """Yield each named file, and the photographs in each folder; a folder without any is yielded itself."""
    from kdtool.data.sources.folder import photographs_in

    for path in paths:
        yield from photographs_in(path) or [path]


def _classify(classifier: Model, path: Path, top: int) -> list[tuple[str, float]]:
    """The `top` likeliest classes and their probabilities, likeliest first."""
    from kdtool.runtime.classify import ranked, softmax

    if path.is_dir():
        raise DataError(f"{path}: no photographs in this folder.")
    return ranked(softmax(classifier.logits(path)), classifier.labels, top)
