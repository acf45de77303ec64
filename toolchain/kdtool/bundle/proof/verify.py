"""Check of `kdtool verify`: a bundle is complete, and this machine computes the stored results.

The check compares, in this order, and stops at the first difference: the hashes of the files
(ModelFileError); the pixels of each golden image, preprocessed on this machine, with the stored pixels; the
logits that each model file computes from the stored pixels with the stored logits (GateError).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kdtool.bundle.packing import COPY_AGAIN, differences
from kdtool.bundle.proof.golden import FOLDER, Golden, Vector, largest_allowed, read_golden, read_npy
from kdtool.bundle.session import open_shipped
from kdtool.core.errors import DataError, GateError, ModelFileError
from kdtool.core.modelinfo import ModelInfo
from kdtool.core.preprocess import FloatArray, Preprocess, UInt8Array
from kdtool.core.screen import Screen
from kdtool.runtime.classify import logits_of
from kdtool.runtime.onnxbytes.declared import onnx_info
from kdtool.runtime.onnxruntime import OnnxSession

CHANNELS = ("red", "green", "blue")


@dataclass(frozen=True)
class Verified:
    """Largest differences from the stored results.

    Attributes:
        images: number of golden images.
        pixels: largest difference of a pixel value, of 255.
        logits: largest difference of a logit, by model file.
    """

    images: int
    pixels: int
    logits: dict[str, float]


def verify(bundle: Path, screen: Screen) -> Verified:
    """Check the files of `bundle`, then preprocess and classify its golden images.

    Raises:
        ModelFileError: the folder is not a bundle, or a file is missing, changed or broken.
        GateError: the pixels or logits differ too much; the message names the first difference.
    """
    for difference in differences(bundle):
        raise ModelFileError(f"{difference}.", COPY_AGAIN)
    golden = read_golden(bundle)
    preprocess = _preprocess(bundle, golden)
    stored = {vector.image: read_npy(bundle / FOLDER / vector.pixels) for vector in golden.vectors}
    pixels = max(
        _compare_pixels(bundle, vector, stored[vector.image], preprocess, golden.pixel_tolerance)
        for vector in golden.vectors
    )
    logits = {}
    with screen.bar("verify", len(golden.logit_tolerance) * len(golden.vectors)) as bar:
        for file, tolerance in golden.logit_tolerance.items():
            session = open_shipped(bundle / file)
            largest = []
            for vector in golden.vectors:
                largest.append(
                    _compare_logits(session, file, vector, stored[vector.image], preprocess, tolerance)
                )
                bar.advance()
            logits[file] = max(largest)
    return Verified(len(golden.vectors), pixels, logits)


def _preprocess(bundle: Path, golden: Golden) -> Preprocess:
    """Read the preprocessing from the first model file."""
    if not golden.vectors or not golden.logit_tolerance:
        raise ModelFileError(f"{bundle}: its list of golden images is empty.", COPY_AGAIN)
    first = bundle / next(iter(golden.logit_tolerance))
    info: ModelInfo | None = onnx_info(first)
    if info is None:
        raise ModelFileError(f"{first} states neither its classes nor its preprocessing.", COPY_AGAIN)
    return info.preprocess


def _compare_pixels(
    bundle: Path, vector: Vector, expected: UInt8Array, preprocess: Preprocess, tolerance: int
) -> int:
    path = bundle / FOLDER / vector.image
    try:
        pixels = preprocess.read(path.read_bytes(), str(path))
    except DataError as error:
        raise ModelFileError(error.message, COPY_AGAIN) from error
    if pixels.shape != expected.shape:
        raise GateError(
            f"{path}: preprocessing gives {_shape(pixels)} pixels, the stored pixels are {_shape(expected)}.",
            COPY_AGAIN,
        )
    difference = np.abs(pixels.astype(np.int16) - expected.astype(np.int16))
    worst = int(difference.max())
    if worst > tolerance:
        row, column, channel = (int(axis) for axis in np.argwhere(difference > tolerance)[0])
        raise GateError(
            f"{path}: preprocessing differs, first at row {row}, column {column}, {CHANNELS[channel]}: "
            f"{pixels[row, column, channel]} on this machine, {expected[row, column, channel]} in the "
            f"bundle; allowed is a difference of {tolerance} of 255.",
            "Pillow of this machine decodes or resizes differently: kdtool doctor shows its version.",
        )
    return worst


def _compare_logits(
    session: OnnxSession,
    file: str,
    vector: Vector,
    pixels: UInt8Array,
    preprocess: Preprocess,
    tolerance: float,
) -> float:
    expected: FloatArray = np.asarray(vector.logits[file], np.float32)
    (logits,) = logits_of(session, pixels[None], preprocess, names=[vector.image])
    if logits.shape != expected.shape:
        raise GateError(
            f"{file} computes {len(logits)} logits for {vector.image}, the bundle has {len(expected)}.",
            COPY_AGAIN,
        )
    difference = np.abs(logits - expected)
    limit = largest_allowed(tolerance, expected)
    if difference.max() > limit:
        first = int(np.argmax(difference > limit))
        raise GateError(
            f"{file} on {vector.image}: logits differ, first at index {first}: {logits[first]:.6g} on this "
            f"machine, {expected[first]:.6g} in the bundle; allowed is a difference of {limit:.2g}.",
            "The processor or the runtime computes differently: kdtool doctor shows both, kdtool bench "
            "measures the accuracy.",
        )
    return float(difference.max())


def _shape(pixels: UInt8Array) -> str:
    return " × ".join(map(str, pixels.shape[:2]))
