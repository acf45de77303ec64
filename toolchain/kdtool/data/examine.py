"""One sample: its bytes are read and decoded once; that decode gives its facts and its pixels."""

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

PHASH_LEAST_SIDE = 32  # pixels; pHash works on 32 × 32 and says little about an image enlarged to that


@dataclass(frozen=True)
class Photo:
    """Facts about a sample that could be decoded.

    Attributes:
        sha256: of the encoded bytes.
        pixels_sha256: SHA-256 of the decoded RGB pixels and their size; equal for equal images,
            whatever their encoding.
        phash: perceptual hash of 64 bits; None for a tiny image or without the package imagehash.
        width, height: pixels, after the rotation that EXIF asks for.
        mode, format: as in the file, before the conversion to RGB.
    """

    sample: Sample
    sha256: str
    pixels_sha256: str
    phash: int | None
    width: int
    height: int
    mode: str
    format: str


@dataclass(frozen=True)
class Unreadable:
    """A sample that cannot be decoded, and the reason; `sha256` is empty if its bytes cannot be read."""

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
        pixels_sha256=sha256_bytes(repr(image.size).encode() + image.tobytes()),
        phash=perceptual_hash(image),
        width=image.width,
        height=image.height,
        mode=header.mode,
        format=header.format or "",
    )
    return photo, pixels


def perceptual_hash(image: Image.Image) -> int | None:
    """64 bits that survive re-encoding and scaling (pHash); None for a tiny image or without imagehash."""
    if min(image.size) < PHASH_LEAST_SIDE:
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
