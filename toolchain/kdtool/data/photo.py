"""Scan one sample: read and decode its bytes once; the decoded image gives its facts and its pixels."""

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

PHASH_LEAST_SIDE = 32  # pixels; pHash works on 32 × 32 and says little about a smaller image that is enlarged


@dataclass(frozen=True)
class Photo:
    """Facts about a sample that could be decoded.

    Attributes:
        sha256: SHA-256 of the encoded bytes.
        pixels_sha256: SHA-256 of the decoded RGB pixels and the size of the image; equal for equal images in
            any encoding.
        phash: perceptual hash of 64 bits; None for a tiny image or without the package imagehash.
        width, height: size in pixels, after the rotation that EXIF asks for.
        mode, format: Pillow's mode and format of the file, before the conversion to RGB.
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
    """A sample that cannot be decoded.

    Attributes:
        sha256: SHA-256 of the encoded bytes; empty if they cannot be read.
        reason: description of the fault, which names the file.
        hint: remedy, apart from leaving the file out.
    """

    sample: Sample
    sha256: str
    reason: str
    hint: str = ""


def scan_sample(sample: Sample, preprocess: Preprocess) -> tuple[Photo | Unreadable, UInt8Array | None]:
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
        return Unreadable(sample, digest, error.message, error.hint), None
    try:
        pixels = preprocess.pixels(image)
    except DataError as error:
        return Unreadable(sample, digest, f"{name}: {error.message}", error.hint), None
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
    """Compute pHash: 64 bits that re-encoding and scaling hardly change.

    Returns:
        The hash, or None for a tiny image or without the package imagehash.
    """
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
