"""Encode images as PNG, so that images of an array are decoded in the same way as photo files."""

from __future__ import annotations

import io

import numpy.typing as npt
from numpy import uint8
from PIL import Image


def png_of_image(image: Image.Image) -> bytes:
    """Encode `image` without loss; equal images give equal bytes."""
    stream = io.BytesIO()
    image.save(stream, format="PNG", compress_level=1)
    return stream.getvalue()


def png_of_array(pixels: npt.NDArray[uint8]) -> bytes:
    """Encode (H, W) grey or (H, W, 3) RGB pixels without loss."""
    return png_of_image(Image.fromarray(pixels))
