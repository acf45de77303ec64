"""Folder golden/: images, with the pixels and logits that every machine must compute.

    golden/golden.json      the list: file, true class, logits for each model file, tolerances
    golden/<name>.png       an image
    golden/<name>.npy       its pixels after resizing and cropping, uint8 (H, W, 3)

Models with float input take the tensor x = ((v / 255) − mean) / std of these pixels. golden.json contains
the first values of this tensor, for apps that cannot read .npy.

Two comparisons show where a difference arises: the pixels computed on this machine with the stored pixels
(they may differ by 1 of 255), and the logits of the stored pixels with the stored logits.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kdtool.bundle.packing import COPY_AGAIN
from kdtool.core.errors import ModelFileError
from kdtool.core.preprocess import FloatArray, Preprocess, UInt8Array
from kdtool.core.typed import parse_record

SCHEMA = 1
FOLDER, INDEX = "golden", "golden/golden.json"
PIXEL_TOLERANCE = 1  # of 255
# Largest difference of a logit, as a share of max(1, the largest absolute logit). Float32 results differ
# between processors in the last bits; INT8 also by saturation, which depends on the instruction set (decision
# 0036).
LOGIT_TOLERANCE = {"fp32": 1e-3, "int8": 5e-2}
FIRST_VALUES = 6


@dataclass(frozen=True)
class Vector:
    """Golden image and its expected results.

    Attributes:
        image: file name of the image.
        pixels: file name of the preprocessed pixels.
        label: true class; "" if the image has none.
        first_values: first values of the float tensor.
        logits: (K,) by model file.
    """

    image: str
    pixels: str
    label: str
    first_values: tuple[float, ...]
    logits: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True)
class Golden:
    """Content of golden.json.

    Attributes:
        pixel_tolerance: largest difference of a pixel value, of 255.
        logit_tolerance: by model file, see `largest_allowed`.
    """

    pixel_tolerance: int
    logit_tolerance: Mapping[str, float]
    vectors: tuple[Vector, ...]

    def to_json(self) -> dict[str, Any]:
        return {"schema": SCHEMA, **asdict(self)}


def read_golden(bundle: Path) -> Golden:
    """Read golden.json of a bundle.

    Raises:
        ModelFileError: the file is missing or broken.
    """
    path = bundle / INDEX
    try:
        return parse_record(Golden, path.read_bytes(), SCHEMA)
    except (OSError, ValueError) as error:
        cause = error.strerror if isinstance(error, OSError) else error
        raise ModelFileError(
            f"{path}: cannot be read ({cause}).",
            COPY_AGAIN,
        ) from error


def npy_bytes(pixels: UInt8Array) -> bytes:
    """Bytes of an .npy file with `pixels`."""
    stream = io.BytesIO()
    np.save(stream, pixels, allow_pickle=False)
    return stream.getvalue()


def read_npy(path: Path) -> UInt8Array:
    """Read the pixels (H, W, 3) of an .npy file.

    Raises:
        ModelFileError: the file is missing, broken, or holds another kind of array.
    """
    try:
        pixels = np.load(path, allow_pickle=False)
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
            raise ValueError(f"it holds {pixels.dtype} of shape {pixels.shape}")
    except (OSError, ValueError, EOFError) as error:
        raise ModelFileError(f"{path}: not an array of 8-bit pixels ({error}).", COPY_AGAIN) from error
    result: UInt8Array = pixels
    return result


def first_values(pixels: UInt8Array, preprocess: Preprocess) -> tuple[float, ...]:
    """First values of the float tensor (row 0 of the red channel), to compare by eye."""
    return tuple(round(float(v), 6) for v in preprocess.normalize(pixels[None]).ravel()[:FIRST_VALUES])


def largest_allowed(tolerance: float, expected: FloatArray) -> float:
    """Largest allowed difference from the logits `expected`: tolerance · max(1, max |logit|)."""
    return tolerance * max(1.0, float(np.abs(expected).max()))


def golden_json(golden: Golden) -> str:
    """Text of golden.json."""
    return json.dumps(golden.to_json(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
