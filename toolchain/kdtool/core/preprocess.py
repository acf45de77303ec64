"""The one definition of how a photograph becomes the network's input.

Training, calibration, parity, bench and the device all use these functions, and each model file
carries the `Preprocess` it was trained with. In words:

1. decode with Pillow; an image over `PIXEL_LIMIT` pixels is an error;
2. first frame of an animation; turned as EXIF says;
3. 16-bit grey is scaled to 8 bits (value / 257); alpha and transparent palettes are laid on white;
   every other mode (CMYK, palette, grey, …) is converted to RGB by Pillow;
4. resize so that the shortest side is `resize` (the other is truncated to an integer, as torchvision
   does), with Pillow's antialiased filter;
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

from kdtool.core.errors import DataError
from kdtool.core.typed import typed

DECODE_RULE = 1  # raised whenever steps 1 to 5 give other pixels than before
PIXEL_LIMIT = 100_000_000
SIDE_LIMIT = 4096
SCALE_LIMIT, STD_LEAST = 1e6, 1e-12  # what float32 bears in (x - mean) / std
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
    """From a decoded photograph to the input tensor; travels with every model.

    Attributes:
        resize: length of the shortest side after resizing, pixels.
        size: side of the centre crop, pixels; at most `resize`.
        interpolation: a key of `INTERPOLATIONS`, always antialiased.
        mean, std: per channel R, G, B, of values scaled to [0, 1].

    Example:
        rule = kdtool.Preprocess(resize=256, size=224, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    """

    resize: int
    size: int
    interpolation: str = "bilinear"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        """Raises ValueError where a value is out of its range."""
        if not 1 <= self.size <= self.resize <= SIDE_LIMIT:
            raise ValueError(
                f"size is {self.size} and resize {self.resize}, allowed is 1 ≤ size ≤ resize ≤ {SIDE_LIMIT}"
            )
        if self.interpolation not in INTERPOLATIONS:
            raise ValueError(
                f"interpolation is {self.interpolation!r}, allowed is one of {', '.join(INTERPOLATIONS)}"
            )
        if not all(abs(value) <= SCALE_LIMIT for value in self.mean):
            raise ValueError(f"mean is {self.mean}, allowed is at most {SCALE_LIMIT:g}")
        if not all(STD_LEAST <= value <= SCALE_LIMIT for value in self.std):
            raise ValueError(f"std is {self.std}, allowed is {STD_LEAST:g} to {SCALE_LIMIT:g}")

    @property
    def geometry(self) -> tuple[int, int, str]:
        """What decides which pixels are seen; mean and std only scale them."""
        return self.resize, self.size, self.interpolation

    def read(self, payload: bytes, name: str) -> UInt8Array:
        """An encoded photograph: (size, size, 3) uint8, by steps 1 to 5.

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
            DataError: so long and thin that the resized image would be over the pixel limit.
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
        """(N, H, W, 3) uint8 → (N, 3, H, W) float32, contiguous.

        Its twin in torch is `kdtool.train.views.batch.to_input`; tests/unit/test_augment.py holds both to the
        same bits.
        """
        scaled = pixels.astype(np.float32) / np.float32(255)
        centred = scaled - np.asarray(self.mean, np.float32)
        return np.ascontiguousarray((centred / np.asarray(self.std, np.float32)).transpose(0, 3, 1, 2))

    def to_json(self) -> dict[str, Any]:
        """The content of preprocess in a model file."""
        return asdict(self) | {"mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Preprocess:
        """The Preprocess in `content`; raises ValueError, naming the fields, where there is none."""
        return typed(cls, content)


def decode(payload: bytes, name: str) -> Image.Image:
    """Decode an encoded photograph to an RGB image by the one rule above (steps 1 to 3).

    Args:
        payload: the bytes of the file, in any format Pillow reads.
        name: how the message names it.

    Raises:
        DataError: no image, truncated, over the pixel limit, or a mode without a rule.
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
    except Exception as error:  # Pillow's decoders raise whatever the broken bytes lead them to
        raise DataError(
            f"{name}: not a readable image ({_cause(error)}).",
            "Repair or remove it, or leave it out with --skip-bad.",
        ) from error


def open_image(payload: bytes) -> Image.Image:
    """The header of an encoded photograph: its size, mode and format, nothing decoded yet.

    Raises:
        Exception: whatever Pillow makes of broken bytes.
    """
    # Pillow's limit is a warning; ours is an error. Warning filters are shared by all threads.
    with _OPENING, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(io.BytesIO(payload))


def _too_large(what: str) -> DataError:
    return DataError(
        f"{what}: over the limit of {PIXEL_LIMIT:,} pixels.",
        "Scale it down, or leave it out with --skip-bad.",
    )


def _cause(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):  # its message shows the address of our buffer
        return "no image format Pillow knows"
    return str(error) or type(error).__name__


def to_rgb(image: Image.Image) -> Image.Image:
    """A decoded image upright and in RGB (steps 2 and 3).

    Raises:
        ValueError: its pixels are floating-point numbers, which have no defined range.
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
