"""The images that travel with a bundle: some of the run's own test photographs, and drawn ones.

Photographs lose everything but their pixels on the way: no place, no camera, no date, and no more than
`LONGEST` pixels a side. They are PNG, so that every decoder gives the same pixels. The drawn ones hold what
preprocessing goes wrong with: fine stripes that alias without an antialiased filter, a turned JPEG,
transparency, sides that are odd.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from kdtool.core.errors import DataError
from kdtool.core.files import sha256_bytes
from kdtool.core.preprocess import UInt8Array, decode
from kdtool.data.reader import Split, open_prepared
from kdtool.runs.folder import RunFolder

LONGEST = 640
TURNED = 6  # EXIF: the camera was held on its side; turn by 90° to the right
ORIENTATION = 0x0112


@dataclass(frozen=True)
class Picture:
    """An encoded image; `label` is the true class, "" where there is none."""

    file: str
    payload: bytes
    label: str = ""


def drawn() -> Iterator[Picture]:
    """Images made of formulas: nobody's, and the same bytes wherever they are made."""
    yield Picture("drawn-stripes.png", _png(_scene(401, 267)))
    yield Picture("drawn-tall.png", _png(_scene(97, 331)))
    yield Picture("drawn-small.png", _png(_scene(19, 23)))
    clear = _scene(240, 180).convert("RGBA")
    y, x = np.mgrid[0:180, 0:240]
    clear.putalpha(Image.fromarray(np.where(np.hypot(x - 120, y - 90) < 70, 255, x).astype(np.uint8)))
    yield Picture("drawn-transparent.png", _png(clear))
    exif = Image.Exif()
    exif[ORIENTATION] = TURNED
    stream = io.BytesIO()
    _scene(360, 240).save(stream, "JPEG", quality=92, subsampling=0, exif=exif)
    yield Picture("drawn-turned.jpg", stream.getvalue())


def photographs(run: RunFolder, source: str, count: int) -> list[Picture]:
    """`count` test photographs, as many classes as can be; none where the run's data is not here.

    Taken from the folder the run was made from, where the file is still there and unchanged; else the
    prepared pixels, which are resized and cropped already.

    Raises:
        DataError: the prepared data is damaged.
    """
    if not count or not (run.data / "manifest.json").is_file():
        return []
    prepared = open_prepared(run.data)
    test = prepared.split("test")
    pictures: list[Picture] = []
    for row in _spread(test, count):
        label = prepared.classes[int(test.labels[row])]
        image = _original(Path(source), test, row) or Image.fromarray(np.asarray(test.images[row]))
        image.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
        pictures.append(Picture(f"photo-{len(pictures) + 1}.png", _png(image), label))
    return pictures


def _spread(test: Split, count: int) -> list[int]:
    """The first image of each class in turn, then the second, until there are `count`."""
    turns: dict[int, int] = {}
    order = []
    for row, label in enumerate(test.labels.tolist()):
        order.append((turns.setdefault(label, 0), label, row))
        turns[label] += 1
    return [row for _, _, row in sorted(order)[:count]]


def _original(source: Path, test: Split, row: int) -> Image.Image | None:
    path = (source if source.is_dir() else source.parent) / test.paths[row]
    try:
        payload = path.read_bytes()
        return decode(payload, str(path)) if sha256_bytes(payload) == test.hashes[row] else None
    except (OSError, DataError):
        return None


def _scene(width: int, height: int) -> Image.Image:
    """Colour gradients, stripes that get finer to the right, and a disc with a hard edge."""
    y, x = np.mgrid[0:height, 0:width]
    stripes = (np.sin(x * x / (width * 0.9)) > 0) * 90.0
    disc = (np.hypot(x - width * 0.4, y - height * 0.6) < min(width, height) * 0.25) * 120.0
    pixels = np.stack(
        [x * 165.0 / width + stripes, y * 135.0 / height + disc, 255 - x * 90.0 / width - stripes], axis=2
    )
    return Image.fromarray(_bytes_of(pixels))


def _bytes_of(pixels: object) -> UInt8Array:
    result: UInt8Array = np.clip(np.asarray(pixels), 0, 255).astype(np.uint8)
    return result


def _png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    return stream.getvalue()
