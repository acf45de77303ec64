"""Read the images of a caller: a path, encoded bytes, a PIL image or an array of pixels; one or many."""

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
from kdtool.data.sources.folder import photographs_in

Encoded: TypeAlias = str | Path | bytes | Image.Image
AnyImage: TypeAlias = Encoded | npt.NDArray[np.uint8]
ALLOWED = "a path, bytes, a PIL image or an array of uint8, (H, W, 3)"


def is_many(images: Any) -> bool:
    """True if `images` is a list, a tuple or an array (N, H, W, 3), not one image."""
    return isinstance(images, list | tuple) or (isinstance(images, np.ndarray) and images.ndim == 4)


def listed(images: Iterable[AnyImage] | str | Path) -> Sequence[AnyImage]:
    """List the images; those of a folder are its photo files at any depth.

    Raises:
        DataError: there are no images.
    """
    if isinstance(images, str | Path):
        folder = Path(images)
        images = photographs_in(folder)
        if not images:
            raise DataError(
                f"{folder}: there are no photographs in this folder.", "Name a folder with photographs."
            )
    sequence = images if isinstance(images, np.ndarray) else list(images)
    if not len(sequence):
        raise DataError("There are no images.", "Give at least one.")
    return sequence  # type: ignore[return-value]  # an array is a sequence of its images


def pixels_of(image: AnyImage, preprocess: Preprocess) -> UInt8Array:
    """Decode, resize and crop an image to (size, size, 3) uint8, not normalized.

    Raises:
        UsageError: the type or the shape of the image is not allowed.
        DataError: the image cannot be read or decoded.
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
                "Give the pixels of a photograph, RGB from 0 to 255, not normalized.",
            )
        return preprocess.pixels(Image.fromarray(np.ascontiguousarray(image)))
    if isinstance(image, Image.Image):
        return preprocess.pixels(to_rgb(image))
    raise UsageError(f"The image is a {type(image).__name__}; allowed: {ALLOWED}.")


def stacked(images: Sequence[AnyImage], preprocess: Preprocess) -> UInt8Array:
    """Apply `pixels_of` to each image; the result is (N, size, size, 3) uint8."""
    return np.stack([pixels_of(image, preprocess) for image in images])


def names_of(images: Sequence[AnyImage]) -> list[str]:
    """Name each image for messages: by its path, otherwise by its number."""
    return [
        printable(str(image)) if isinstance(image, str | Path) else f"image {number} of {len(images)}"
        for number, image in enumerate(images, start=1)
    ]
