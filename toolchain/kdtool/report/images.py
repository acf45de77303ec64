"""The images of mistakes, as PNG files inside the page."""

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

LARGEST_SIDE = 224  # pixels


@dataclass(frozen=True)
class MistakeImage:
    """A mistake with its image: a PNG as a data URI, and its side in pixels ("" and 0 without an image)."""

    mistake: Mistake
    source: str = ""
    side: int = 0


def images_of(run: RunFolder, mistakes: Sequence[Mistake], screen: Screen) -> tuple[list[MistakeImage], str]:
    """Read the image of each mistake, as the models saw it.

    Returns:
        The mistakes with their images, and the reason if they have no images (otherwise "").
    """
    missing = [MistakeImage(mistake) for mistake in mistakes]
    if not run.data.is_dir():
        return missing, "The images are left out, since the prepared data (data/) is not in this folder."
    try:
        test = open_prepared(run.data).split("test")
    except DataError as error:
        screen.warn(f"report: the images are left out: {error.message}")
        return missing, f"The images are left out: {error.message}"
    rows = {path: row for row, path in enumerate(test.paths)}
    if any(mistake.path not in rows for mistake in mistakes):
        return missing, "The images are left out: data/ has other images than predictions.csv."
    return [MistakeImage(mistake, *_data_uri(test.images[rows[mistake.path]])) for mistake in mistakes], ""


def _data_uri(pixels: UInt8Array) -> tuple[str, int]:
    """Encode (S, S, 3) uint8 as PNG inside a URI; return it with its side, at most LARGEST_SIDE pixels."""
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii"), image.width
