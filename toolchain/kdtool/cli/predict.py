"""`kdtool predict`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kdtool.cli.options import json_option
from kdtool.core.errors import DataError, UsageError

if TYPE_CHECKING:
    from kdtool.runtime.session import Session


@click.command()
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...", type=click.Path(path_type=Path))
@click.option(
    "--model",
    metavar="FILE.onnx",
    type=click.Path(path_type=Path),
    help="The model.  [default: the student of the newest run]",
)
@click.option("--top", type=click.IntRange(1), default=1, show_default=True, help="Classes an image.")
@json_option
def command(images: tuple[Path, ...], model: Path | None, top: int, as_json: bool) -> None:
    """Classify photographs with an exported model.

    IMAGE is a file or a folder, which is searched at any depth. Prints path, class and probability.
    What cannot be read, or a folder without pictures, is reported; the others are done, and the exit code
    is 3.
    """
    from kdtool.core.text import printable
    from kdtool.machine.terminal import open_screen
    from kdtool.runs.folder import newest_run
    from kdtool.runtime import load_runtime

    screen = open_screen()
    if model is None:
        model = newest_run().onnx_model("student")
        screen.say(f"Model: {model}.")
    session = load_runtime().open_model(model)
    if session.info is None:
        raise UsageError(
            f"{model} states neither its classes nor its preprocessing.",
            "Name a model made by: kdtool export --onnx",
        )
    printed, bad = [], 0
    for path in _pictures(images):
        try:
            classes = _classify(session, path, top)
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
            f"{bad} photograph(s) or folder(s) cannot be read; the others are done.",
            "Repair them, or leave them out.",
        )


def _pictures(paths: tuple[Path, ...]) -> Iterator[Path]:
    """Files as named, whatever they are called; of folders, what looks like a picture."""
    from kdtool.data.sources.folder import IMAGE_SUFFIXES

    for path in paths:
        if not path.is_dir():
            yield path
            continue
        inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
        yield from inside or [path]  # a folder without any cannot be read as a picture, and is reported so


def _classify(session: Session, path: Path, top: int) -> list[tuple[str, float]]:
    """The `top` likeliest classes and their probabilities, likeliest first."""
    from kdtool.runtime.classify import logits_of, ranked, softmax

    info: Any = session.info
    if path.is_dir():
        raise DataError(f"{path}: no pictures in this folder.")
    try:
        payload = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from error
    pixels = info.preprocess.read(payload, str(path))
    (logits,) = logits_of(session, pixels[None], info.preprocess, len(info.classes), names=[str(path)])
    return ranked(softmax(logits), info.classes, top)
