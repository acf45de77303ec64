"""Golden images of a bundle: some test photographs of the run, and drawn images.

A photograph keeps only its pixels: no place, camera or date, and at most `LONGEST` pixels a side. It is
written as PNG, so that every decoder gives the same pixels. The drawn images test the common mistakes of
preprocessing: fine stripes that alias without an antialiased filter, a JPEG with an EXIF orientation,
transparency, odd sides.
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
from kdtool.core.preprocess import decode
from kdtool.data.reader import Split, open_prepared
from kdtool.runs.folder import RunFolder

LONGEST = 640
ROTATED = 6  # EXIF orientation of a camera held on its side: rotate the image by 90° clockwise
ORIENTATION = 0x0112


@dataclass(frozen=True)
class GoldenImage:
    """Encoded image of a bundle; `label` is the true class, or "" if it has none."""

    file: str
    payload: bytes
    label: str = ""


def drawn_images() -> Iterator[GoldenImage]:
    """Yield images that formulas make: free of rights, and with the same bytes on every machine."""
    yield GoldenImage("drawn-stripes.png", _png(_scene(401, 267)))
    yield GoldenImage("drawn-tall.png", _png(_scene(97, 331)))
    yield GoldenImage("drawn-small.png", _png(_scene(19, 23)))
    transparent = _scene(240, 180).convert("RGBA")
    y, x = np.mgrid[0:180, 0:240]
    transparent.putalpha(Image.fromarray(np.where(np.hypot(x - 120, y - 90) < 70, 255, x).astype(np.uint8)))
    yield GoldenImage("drawn-transparent.png", _png(transparent))
    exif = Image.Exif()
    exif[ORIENTATION] = ROTATED
    stream = io.BytesIO()
    _scene(360, 240).save(stream, "JPEG", quality=92, subsampling=0, exif=exif)
    yield GoldenImage("drawn-turned.jpg", stream.getvalue())


def select_photographs(run: RunFolder, source: str, count: int) -> list[GoldenImage]:
    """Select `count` test photographs of as many classes as possible; none if the run has no prepared data.

    A photograph comes from its file in `source`, if that is still there and unchanged. Otherwise it comes
    from the prepared pixels, which are resized and cropped already.

    Raises:
        DataError: the prepared data is damaged.
    """
    if not count or not (run.data / "manifest.json").is_file():
        return []
    prepared = open_prepared(run.data)
    test = prepared.split("test")
    selected: list[GoldenImage] = []
    for row in _spread(test, count):
        label = prepared.classes[int(test.labels[row])]
        image = _original(Path(source), test, row) or Image.fromarray(np.asarray(test.images[row]))
        image.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
        selected.append(GoldenImage(f"photo-{len(selected) + 1}.png", _png(image), label))
    return selected


def _spread(test: Split, count: int) -> list[int]:
    """Rows of `count` images: the first image of each class, then the second of each, and so on."""
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
    """Draw colour gradients, stripes that get finer to the right, and a disc with a hard edge."""
    y, x = np.mgrid[0:height, 0:width]
    stripes = (np.sin(x * x / (width * 0.9)) > 0) * 90.0
    disc = (np.hypot(x - width * 0.4, y - height * 0.6) < min(width, height) * 0.25) * 120.0
    pixels = np.stack(
        [x * 165.0 / width + stripes, y * 135.0 / height + disc, 255 - x * 90.0 / width - stripes], axis=2
    )
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    return stream.getvalue()
