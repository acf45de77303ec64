"""Images as a caller has them: a path, encoded bytes, a PIL image or an array of pixels; one or many."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from kdtool.core.errors import DataError, UsageError
from kdtool.core.preprocess import Preprocess, UInt8Array, to_rgb
from kdtool.core.text import printable
from kdtool.data.sources.folder import IMAGE_SUFFIXES

Encoded: TypeAlias = str | Path | bytes | Image.Image
AnyImage: TypeAlias = Encoded | npt.NDArray[np.uint8]
ALLOWED = "a path, bytes, a PIL image or an array of uint8, (H, W, 3)"


def is_many(images: Any) -> bool:
    """Whether `images` is a list, a tuple or an array (N, H, W, 3), not one image."""
    return isinstance(images, list | tuple) or (isinstance(images, np.ndarray) and images.ndim == 4)


def listed(images: Iterable[AnyImage] | str | Path) -> Sequence[AnyImage]:
    """The images one by one; of a folder, its photographs at any depth.

    Raises:
        DataError: there is none.
    """
    if isinstance(images, str | Path):
        folder = Path(images)
        images = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
        if not images:
            raise DataError(f"{folder}: no photographs in this folder.", "Name a folder with photographs.")
    found = images if isinstance(images, np.ndarray) else list(images)
    if not len(found):
        raise DataError("There are no images.", "Give at least one.")
    return found  # type: ignore[return-value]  # an array is a sequence of its images


def pixels_of(image: AnyImage, preprocess: Preprocess) -> UInt8Array:
    """The image as the network sees it before normalization: (size, size, 3) uint8.

    Raises:
        UsageError: not an image that is allowed here.
        DataError: it cannot be read or decoded.
    """
    if isinstance(image, bytes):
        return preprocess.read(image, "the image")
    if isinstance(image, str | Path):
        path = Path(image)
        try:
            payload = path.read_bytes()
        except OSError as error:
            raise DataError(f"{printable(str(path))}: cannot be read ({error.strerror or error}).") from error
        return preprocess.read(payload, printable(str(path)))
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise UsageError(
                f"The image is {image.dtype} of shape {image.shape}; allowed: {ALLOWED}.",
                "An array holds the pixels of a photograph, RGB from 0 to 255, not yet normalized.",
            )
        return preprocess.pixels(Image.fromarray(np.ascontiguousarray(image)))
    if isinstance(image, Image.Image):
        return preprocess.pixels(to_rgb(image))
    raise UsageError(f"The image is a {type(image).__name__}; allowed: {ALLOWED}.")


def stacked(images: Sequence[AnyImage], preprocess: Preprocess) -> UInt8Array:
    """As `pixels_of`, of all: (N, size, size, 3) uint8."""
    return np.stack([pixels_of(image, preprocess) for image in images])


def names_of(images: Sequence[AnyImage]) -> list[str]:
    """What messages call each image: its path, or its place among the images."""
    return [
        printable(str(image)) if isinstance(image, str | Path) else f"image {number} of {len(images)}"
        for number, image in enumerate(images, start=1)
    ]
