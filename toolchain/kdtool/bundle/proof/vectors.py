"""Creation of the golden images of a bundle: every model file computes its logits for each image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from kdtool.bundle.packing import write
from kdtool.bundle.proof.golden import (
    FOLDER,
    INDEX,
    LOGIT_TOLERANCE,
    PIXEL_TOLERANCE,
    Golden,
    Vector,
    first_values,
    golden_json,
    largest_allowed,
    npy_bytes,
)
from kdtool.bundle.proof.images import GoldenImage
from kdtool.bundle.shipped import Kind
from kdtool.core.errors import GateError
from kdtool.core.preprocess import FloatArray, Preprocess
from kdtool.runtime.classify import logits_of
from kdtool.runtime.onnxruntime import OnnxSession

REPACKED = ("uint8", "ort")  # kinds that contain one of `NETWORKS` in another form
NETWORKS = ("fp32", "int8")
Logits = Mapping[str, FloatArray]  # by model file


def make_golden(
    folder: Path,
    images: Sequence[GoldenImage],
    preprocess: Preprocess,
    sessions: Mapping[str, tuple[Kind, OnnxSession]],
) -> Golden:
    """Write golden/ into the bundle `folder`.

    Args:
        sessions: kind and session by model file.

    Raises:
        GateError: a repacked file computes other logits than every network, or a logit is NaN or infinite.
        ModelFileError: a file fails on an image.
    """
    vectors, computed = [], []
    for image in images:
        pixels = preprocess.read(image.payload, image.file)
        logits = {
            file: logits_of(session, pixels[None], preprocess, names=[image.file])[0]
            for file, (_, session) in sessions.items()
        }
        computed.append(logits)
        stored = f"{Path(image.file).stem}.npy"
        write(folder / FOLDER / image.file, image.payload)
        write(folder / FOLDER / stored, npy_bytes(pixels))
        rows = {file: tuple(float(value) for value in row) for file, row in logits.items()}
        first = first_values(pixels, preprocess)
        vectors.append(Vector(image.file, stored, image.label, first, rows))
    kinds = {file: kind.name for file, (kind, _) in sessions.items()}
    names = [image.file for image in images]
    tolerance = {file: LOGIT_TOLERANCE[_network(file, kinds, names, computed)] for file in sessions}
    golden = Golden(PIXEL_TOLERANCE, tolerance, tuple(vectors))
    write(folder / INDEX, golden_json(golden))
    return golden


def _network(file: str, kinds: Mapping[str, str], images: Sequence[str], computed: Sequence[Logits]) -> str:
    """Kind of the network in `file`; for a repacked file, the network with the same logits."""
    if kinds[file] not in REPACKED:
        return kinds[file]
    refusal = ""
    for network in (other for other, kind in kinds.items() if kind in NETWORKS):
        differing = (
            f"{file} and {network} compute different logits for {image}: a logit differs by "
            f"{_difference(row[file], row[network]):.3g}, allowed is {_limit(row[network]):.3g}."
            for image, row in zip(images, computed, strict=True)
            if _difference(row[file], row[network]) > _limit(row[network])
        )
        first = next(differing, None)
        if first is None:
            return kinds[network]
        refusal = refusal or first
    raise GateError(refusal, "Make the file again with: kdtool export --onnx")


def _limit(reference: FloatArray) -> float:
    return largest_allowed(LOGIT_TOLERANCE["fp32"], reference)


def _difference(row: FloatArray, reference: FloatArray) -> float:
    return float(np.abs(row - reference).max()) if row.shape == reference.shape else np.inf
