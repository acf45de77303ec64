"""Definition of how a photograph becomes the input of a network.

Training, calibration, parity, bench and the device all use these functions, and each model file
contains the `Preprocess` that the model was trained with. In words:

1. decode with Pillow; an image over `PIXEL_LIMIT` pixels is an error;
2. take the first frame of an animation, and rotate it as EXIF says;
3. scale 16-bit grey to 8 bits (value / 257); put alpha and transparent palettes on white;
   convert every other mode (CMYK, palette, grey, …) to RGB by Pillow;
4. resize so that the shortest side is `resize` (the other side is truncated to an integer, as in
   torchvision), with Pillow's antialiased filter;
5. crop `size` × `size` from the centre;
6. float32 x = ((v / 255) − mean) / std per channel, order RGB, layout NCHW.
"""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from kdtool.core.errors import DataError, UsageError
from kdtool.core.typed import typed

DECODE_RULE = 1  # increase it whenever steps 1 to 5 give other pixels than before
PIXEL_LIMIT = 100_000_000
SIDE_LIMIT = 4096
SCALE_LIMIT, STD_LEAST = 1e6, 1e-12  # (x - mean) / std stays finite in float32
INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
WHITE = (255, 255, 255, 255)
_OPENING = threading.Lock()

UInt8Array = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Preprocess:
    """Rule that makes the input tensor from a decoded photograph; every model file contains it.

    Attributes:
        resize: length of the shortest side after resizing, pixels.
        size: side of the centre crop, pixels; at most `resize`.
        interpolation: name of the filter, a key of `INTERPOLATIONS`; always antialiased.
        mean, std: mean and standard deviation of the channels R, G, B, for values scaled to [0, 1].

    Example:
        rule = kdtool.Preprocess(resize=256, size=224, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    """

    resize: int
    size: int
    interpolation: str = "bilinear"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        """Raise UsageError if a value is out of its range."""
        whole = isinstance(self.size, int) and isinstance(self.resize, int)
        if not (whole and 1 <= self.size <= self.resize <= SIDE_LIMIT):
            raise UsageError(
                f"size is {self.size!r} and resize {self.resize!r}, "
                f"allowed is 1 ≤ size ≤ resize ≤ {SIDE_LIMIT}"
            )
        if self.interpolation not in INTERPOLATIONS:
            raise UsageError(
                f"interpolation is {self.interpolation!r}, allowed is one of {', '.join(INTERPOLATIONS)}"
            )
        if not _three_within(self.mean, -SCALE_LIMIT, SCALE_LIMIT):
            raise UsageError(
                f"mean is {self.mean}, allowed is three numbers, {-SCALE_LIMIT:g} to {SCALE_LIMIT:g}"
            )
        if not _three_within(self.std, STD_LEAST, SCALE_LIMIT):
            raise UsageError(f"std is {self.std}, allowed is three numbers, {STD_LEAST:g} to {SCALE_LIMIT:g}")

    @property
    def geometry(self) -> tuple[int, int, str]:
        """Values that decide on the pixels (steps 1 to 5); mean and std only scale them."""
        return self.resize, self.size, self.interpolation

    def read(self, payload: bytes, name: str) -> UInt8Array:
        """Read an encoded photograph by steps 1 to 5: (size, size, 3) uint8.

        Args:
            payload: bytes of the photo file.
            name: file name for messages.

        Raises:
            DataError: see `decode` and `pixels`; the message begins with `name`.
        """
        image = decode(payload, name)
        try:
            return self.pixels(image)
        except DataError as error:
            raise DataError(f"{name}: {error.message}", error.hint) from error

    def pixels(self, image: Image.Image) -> UInt8Array:
        """Resize and crop an RGB image: (size, size, 3) uint8.

        Raises:
            DataError: the image is so long and thin that the resized image is over the pixel limit.
        """
        width, height = image.size
        short, long = sorted((width, height))
        scaled = int(self.resize * long / short)
        new_size = (self.resize, scaled) if width <= height else (scaled, self.resize)
        if new_size[0] * new_size[1] > PIXEL_LIMIT:
            raise _too_large(f"{width} × {height} pixels resized to {new_size[0]} × {new_size[1]}")
        if new_size != image.size:
            image = image.resize(new_size, INTERPOLATIONS[self.interpolation])
        left, top = (round((side - self.size) / 2.0) for side in new_size)
        return np.asarray(image.crop((left, top, left + self.size, top + self.size)), dtype=np.uint8)

    def normalize(self, pixels: UInt8Array) -> FloatArray:
        """Normalize pixels by step 6: (N, H, W, 3) uint8 → (N, 3, H, W) float32, contiguous.

        `kdtool.train.views.batch.to_input` does the same in torch; tests/unit/test_augment.py checks that
        both give the same bits.
        """
        scaled = pixels.astype(np.float32) / np.float32(255)
        centred = scaled - np.asarray(self.mean, np.float32)
        return np.ascontiguousarray((centred / np.asarray(self.std, np.float32)).transpose(0, 3, 1, 2))

    def to_json(self) -> dict[str, Any]:
        """Return the rule as plain values, for the record in a model file."""
        return asdict(self) | {"mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Preprocess:
        """Read the rule from plain values.

        Raises:
            ValueError: fields are missing or wrong (the message has all of them).
        """
        return typed(cls, content)


def _three_within(values: Any, least: float, most: float) -> bool:
    """Return True if `values` has a number from `least` to `most` for each of R, G and B."""
    return (
        isinstance(values, tuple | list)
        and len(values) == 3
        and all(isinstance(value, int | float) and least <= value <= most for value in values)
    )


def decode(payload: bytes, name: str) -> Image.Image:
    """Decode an encoded photograph to an RGB image by steps 1 to 3.

    Args:
        payload: bytes of the photo file, in any format that Pillow reads.
        name: file name for messages.

    Raises:
        DataError: it is not an image, truncated, over the pixel limit, or has a mode without a rule.
    """
    try:
        image = open_image(payload)
        if image.width * image.height > PIXEL_LIMIT:
            raise _too_large(f"{name}: {image.width} × {image.height} pixels")
        image.seek(0)
        image.load()
        return to_rgb(image)
    except (DataError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise _too_large(name) from error
    except Exception as error:  # Pillow's decoders raise exceptions of any class on broken bytes
        raise DataError(
            f"{name}: not a readable image ({_cause(error)}).",
            "Repair or remove the photo file.",
        ) from error


def open_image(payload: bytes) -> Image.Image:
    """Open an encoded photograph: read size, mode and format, but do not decode pixels yet.

    Raises:
        Exception: of any class, if Pillow cannot read the bytes.
    """
    # Pillow warns above its own limit; kdtool has a limit that is an error. All threads share the filters
    # of warnings, hence the lock.
    with _OPENING, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(io.BytesIO(payload))


def _too_large(what: str) -> DataError:
    return DataError(
        f"{what}: over the limit of {PIXEL_LIMIT:,} pixels.",
        "Scale the image down.",
    )


def _cause(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):  # its message contains a memory address
        return "no image format that Pillow knows"
    return str(error) or type(error).__name__


def to_rgb(image: Image.Image) -> Image.Image:
    """Rotate a decoded image as EXIF says and convert it to RGB (steps 2 and 3).

    Raises:
        ValueError: the pixels are floating-point numbers, which have no defined range.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        wide = np.clip(np.asarray(image, dtype=np.int64), 0, 65535)
        return Image.fromarray(((wide + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ValueError("floating-point pixels have no defined range")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, WHITE)
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")
