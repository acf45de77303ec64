"""One photograph: its bytes read and decoded once, its facts and its pixels out of the same decode."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from PIL import Image

from kdtool.core.errors import DataError
from kdtool.core.files import sha256_bytes
from kdtool.core.preprocess import Preprocess, UInt8Array, decode, open_image
from kdtool.core.text import printable
from kdtool.data.listing import Sample

SMALLEST_LOOK = 32  # pixels; the hash works on 32 × 32, and says little of a picture blown up to that


@dataclass(frozen=True)
class Photo:
    """What is known of a readable photograph.

    Attributes:
        sha256: of the encoded bytes.
        picture: SHA-256 of the decoded RGB pixels and their size; equal for equal pictures,
            however they were encoded.
        look: perceptual hash of 64 bits, or None where there is no way to tell.
        mode, format: as in the file, before the conversion to RGB; width and height are after EXIF's turn.
    """

    sample: Sample
    sha256: str
    picture: str
    look: int | None
    width: int
    height: int
    mode: str
    format: str


@dataclass(frozen=True)
class Unreadable:
    """A sample that gave no picture, and why; `sha256` is empty where not even bytes came."""

    sample: Sample
    sha256: str
    reason: str


def examine(sample: Sample, preprocess: Preprocess) -> tuple[Photo | Unreadable, UInt8Array | None]:
    """Read, hash and fully decode `sample`.

    Returns:
        (Photo, (size, size, 3) uint8), or (Unreadable, None).
    """
    name = printable(sample.path)
    try:
        payload = sample.read()
    except OSError as error:
        return Unreadable(sample, "", f"{name}: cannot be read ({error.strerror or error})."), None
    digest = sha256_bytes(payload)
    if not payload:
        return Unreadable(sample, digest, f"{name}: the file is empty (0 bytes)."), None
    try:
        image = decode(payload, name)
    except DataError as error:
        return Unreadable(sample, digest, error.message), None
    try:
        pixels = preprocess.pixels(image)
    except DataError as error:
        return Unreadable(sample, digest, f"{name}: {error.message}"), None
    header = open_image(payload)
    photo = Photo(
        sample=sample,
        sha256=digest,
        picture=sha256_bytes(repr(image.size).encode() + image.tobytes()),
        look=perceptual_hash(image),
        width=image.width,
        height=image.height,
        mode=header.mode,
        format=header.format or "",
    )
    return photo, pixels


def perceptual_hash(image: Image.Image) -> int | None:
    """64 bits that survive re-encoding and scaling (pHash); None for tiny pictures or without imagehash."""
    if min(image.size) < SMALLEST_LOOK:
        return None
    imagehash = _imagehash()
    return int(str(imagehash.phash(image)), 16) if imagehash else None


@cache
def _imagehash() -> Any:
    try:
        import imagehash
    except ImportError:
        return None
    return imagehash
