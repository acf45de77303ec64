"""Encode images as PNG, so that sources of arrays are decoded in the same way as files."""

from __future__ import annotations

import io

import numpy.typing as npt
from numpy import uint8
from PIL import Image


def png_of_image(image: Image.Image) -> bytes:
    """Lossless bytes of `image`; equal images have equal bytes."""
    stream = io.BytesIO()
    image.save(stream, format="PNG", compress_level=1)
    return stream.getvalue()


def png_of_array(pixels: npt.NDArray[uint8]) -> bytes:
    """Lossless bytes of (H, W) grey or (H, W, 3) RGB pixels."""
    return png_of_image(Image.fromarray(pixels))
