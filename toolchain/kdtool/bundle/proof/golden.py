"""golden/: images with the tensors and logits that must come out, wherever the bundle runs.

    golden/golden.json      the list: file, true class, logits a model file, tolerances
    golden/<name>.png       an image
    golden/<name>.npy       its pixels after resizing and cropping, uint8 (H, W, 3)

The tensor of the float models is x = ((v / 255) − mean) / std of these pixels, `golden.json` has its first
values for those who cannot read .npy.

Two comparisons, so that a difference can be placed: the image preprocessed here against the stored pixels
(at most 1 of 255), and the logits of the stored pixels against the stored logits.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kdtool.core.errors import ModelFileError
from kdtool.core.preprocess import FloatArray, Preprocess, UInt8Array
from kdtool.core.typed import parse_record

SCHEMA = 1
FOLDER, INDEX = "golden", "golden/golden.json"
PIXEL_TOLERANCE = 1  # of 255
# Largest difference of a logit, as a share of the largest logit (at least 1). Float32 differs between
# processors in its last bits; INT8 also by saturation, which depends on the instruction set (decision 0036).
LOGIT_TOLERANCE = {"fp32": 1e-3, "int8": 5e-2}
FIRST_VALUES = 6


@dataclass(frozen=True)
class Vector:
    """One image: the file, its pixels' file, the true class ("": none), and logits by model file."""

    image: str
    pixels: str
    label: str
    first_values: tuple[float, ...]
    logits: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True)
class Golden:
    """The whole list. `logit_tolerance` is by model file."""

    pixel_tolerance: int
    logit_tolerance: Mapping[str, float]
    vectors: tuple[Vector, ...]

    def to_json(self) -> dict[str, Any]:
        return {"schema": SCHEMA, **asdict(self)}


def read_golden(bundle: Path) -> Golden:
    """Raises ModelFileError where the bundle has no list, or it is broken."""
    path = bundle / INDEX
    try:
        return parse_record(Golden, path.read_bytes(), SCHEMA)
    except (OSError, ValueError) as error:
        cause = error.strerror if isinstance(error, OSError) else error
        raise ModelFileError(
            f"{path}: cannot be read ({cause}).",
            "Copy the whole bundle again, or make it with: kdtool bundle",
        ) from error


def npy(pixels: UInt8Array) -> bytes:
    """The bytes of an .npy file."""
    stream = io.BytesIO()
    np.save(stream, pixels, allow_pickle=False)
    return stream.getvalue()


def read_npy(path: Path) -> UInt8Array:
    """Raises ModelFileError where it is not an array of 8-bit pixels."""
    try:
        pixels = np.load(path, allow_pickle=False)
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
            raise ValueError(f"holds {pixels.dtype} of shape {pixels.shape}")
    except (OSError, ValueError, EOFError) as error:
        raise ModelFileError(
            f"{path}: not an array of pixels ({error}).", "Copy the bundle again."
        ) from error
    result: UInt8Array = pixels
    return result


def first_values(pixels: UInt8Array, preprocess: Preprocess) -> tuple[float, ...]:
    """The first values of the float tensor (row 0 of the red channel), for a look by eye."""
    return tuple(round(float(v), 6) for v in preprocess.normalize(pixels[None]).ravel()[:FIRST_VALUES])


def allowed(tolerance: float, expected: FloatArray) -> float:
    """The largest difference allowed from these logits."""
    return tolerance * max(1.0, float(np.abs(expected).max()))


def dump(golden: Golden) -> str:
    return json.dumps(golden.to_json(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
