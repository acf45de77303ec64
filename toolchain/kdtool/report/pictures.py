"""The images of mistakes, as PNG inside the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from kdtool.core.errors import DataError
from kdtool.core.preprocess import UInt8Array
from kdtool.core.screen import Screen
from kdtool.data.reader import open_prepared
from kdtool.report.mistakes import Mistake
from kdtool.runs.folder import RunFolder

PICTURE_SIDE = 224


@dataclass(frozen=True)
class Picture:
    """A mistake with its image: a PNG as a data URI, and its side in pixels ("" and 0 without an image)."""

    mistake: Mistake
    source: str = ""
    side: int = 0


def pictures_of(run: RunFolder, mistakes: Sequence[Mistake], screen: Screen) -> tuple[list[Picture], str]:
    """Each mistake with the pixels that the models saw, and the reason if there are none (otherwise "")."""
    missing = [Picture(mistake) for mistake in mistakes]
    if not run.data.is_dir():
        return missing, "The prepared images (data/) are not in this folder, so the pictures are left out."
    try:
        test = open_prepared(run.data).split("test")
    except DataError as error:
        screen.warn(f"report: pictures left out: {error.message}")
        return missing, f"The pictures are left out: {error.message}"
    rows = {path: row for row, path in enumerate(test.paths)}
    if any(mistake.path not in rows for mistake in mistakes):
        return missing, "The pictures are left out: data/ holds other images than predictions.csv."
    return [Picture(mistake, *_data_uri(test.images[rows[mistake.path]])) for mistake in mistakes], ""


def _data_uri(pixels: UInt8Array) -> tuple[str, int]:
    """(S, S, 3) uint8 → a PNG inside a URI, and its side, at most PICTURE_SIDE pixels."""
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.thumbnail((PICTURE_SIDE, PICTURE_SIDE), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii"), image.width
