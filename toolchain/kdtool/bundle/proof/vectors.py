"""Making the golden images of a bundle: every model file answers each of them once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from kdtool.bundle.packing import put
from kdtool.bundle.proof.golden import (
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
from kdtool.bundle.proof.pictures import Picture
from kdtool.bundle.shipped import Kind
from kdtool.core.errors import GateError
from kdtool.core.preprocess import FloatArray, Preprocess
from kdtool.runtime.classify import logits_of
from kdtool.runtime.onnxruntime import OnnxSession

REPACKED = ("uint8", "ort")  # kinds that only package one of `NETWORKS` otherwise
NETWORKS = ("fp32", "int8")
Logits = Mapping[str, FloatArray]  # by model file


def make_golden(
    folder: Path,
    pictures: Sequence[Picture],
    preprocess: Preprocess,
    sessions: Mapping[str, tuple[Kind, OnnxSession]],
) -> Golden:
    """Write golden/ into the bundle `folder`; `sessions` by file.

    Raises:
        GateError: a file answers like none of the networks it may package, or with what is no number.
        ModelFileError: a file fails on an image.
    """
    vectors, answers = [], []
    for picture in pictures:
        pixels = preprocess.read(picture.payload, picture.file)
        logits = {
            file: logits_of(session, pixels[None], preprocess, names=[picture.file])[0]
            for file, (_, session) in sessions.items()
        }
        answers.append(logits)
        stored = f"{Path(picture.file).stem}.npy"
        put(folder / FOLDER / picture.file, picture.payload)
        put(folder / FOLDER / stored, npy(pixels))
        rows = {file: tuple(float(value) for value in row) for file, row in logits.items()}
        first = first_values(pixels, preprocess)
        vectors.append(Vector(picture.file, stored, picture.label, first, rows))
    kinds = {file: kind.name for file, (kind, _) in sessions.items()}
    images = [picture.file for picture in pictures]
    tolerance = {file: LOGIT_TOLERANCE[_network(file, kinds, images, answers)] for file in sessions}
    golden = Golden(PIXEL_TOLERANCE, tolerance, tuple(vectors))
    put(folder / INDEX, dump(golden))
    return golden


def _network(file: str, kinds: Mapping[str, str], images: Sequence[str], answers: Sequence[Logits]) -> str:
    """The kind whose answers `file` gives: its own, or of a repacked file that of the network inside."""
    if kinds[file] not in REPACKED:
        return kinds[file]
    refusal = ""
    for network in (other for other, kind in kinds.items() if kind in NETWORKS):
        differing = (
            f"{file} answers otherwise than {network} on {image}: a logit differs by "
            f"{_difference(row[file], row[network]):.3g}, allowed is {_limit(row[network]):.3g}."
            for image, row in zip(images, answers, strict=True)
            if _difference(row[file], row[network]) > _limit(row[network])
        )
        first = next(differing, None)
        if first is None:
            return kinds[network]
        refusal = refusal or first
    raise GateError(refusal, "Make it again with: kdtool export --onnx")


def _limit(reference: FloatArray) -> float:
    return allowed(LOGIT_TOLERANCE["fp32"], reference)


def _difference(row: FloatArray, reference: FloatArray) -> float:
    return float(np.abs(row - reference).max()) if row.shape == reference.shape else np.inf
