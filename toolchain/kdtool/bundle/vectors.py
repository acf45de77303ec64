"""Making the golden images of a bundle: every model file answers each of them once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from kdtool.bundle.golden import (
    FOLDER,
    INDEX,
    LOGIT_TOLERANCE,
    PIXEL_TOLERANCE,
    Golden,
    Vector,
    allowed,
    dump,
    first_values,
    npy,
)
from kdtool.bundle.pictures import Picture
from kdtool.bundle.place import put
from kdtool.bundle.session import ShippedSession
from kdtool.bundle.shipped import KINDS, Kind
from kdtool.core.errors import GateError
from kdtool.core.preprocess import FloatArray, Preprocess

SAME_NETWORK = ("uint8",)  # kinds that only package the float32 network otherwise


def make_golden(
    folder: Path,
    pictures: list[Picture],
    preprocess: Preprocess,
    sessions: Mapping[str, tuple[Kind, ShippedSession]],
) -> Golden:
    """Write golden/ into the bundle `folder`; `sessions` by file.

    Raises:
        GateError: a file answers otherwise than the float32 model it packages.
        ModelFileError: a file fails on an image.
    """
    vectors = []
    for picture in pictures:
        pixels = preprocess.read(picture.payload, picture.file)
        logits = {file: session.logits(pixels, preprocess) for file, (_, session) in sessions.items()}
        for file, (kind, _) in sessions.items():
            if kind.name in SAME_NETWORK:
                _require_same(file, picture.file, logits[file], logits[KINDS[0].file])
        stored = f"{Path(picture.file).stem}.npy"
        put(folder / FOLDER / picture.file, picture.payload)
        put(folder / FOLDER / stored, npy(pixels))
        answers = {file: tuple(float(value) for value in row) for file, row in logits.items()}
        first = first_values(pixels, preprocess)
        vectors.append(Vector(picture.file, stored, picture.label, first, answers))
    tolerance = {file: LOGIT_TOLERANCE[kind.name] for file, (kind, _) in sessions.items()}
    golden = Golden(PIXEL_TOLERANCE, tolerance, tuple(vectors))
    put(folder / INDEX, dump(golden))
    return golden


def _require_same(file: str, image: str, row: FloatArray, reference: FloatArray) -> None:
    limit = allowed(LOGIT_TOLERANCE["fp32"], reference)
    difference = float(np.abs(row - reference).max()) if row.shape == reference.shape else np.inf
    if difference > limit:
        raise GateError(
            f"{file} answers otherwise than {KINDS[0].file} on {image}: a logit differs by {difference:.3g}, "
            f"allowed is {limit:.3g}.",
            "Export it again with: kdtool export --onnx",
        )
