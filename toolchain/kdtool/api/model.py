"""Load a classifier from a file, a run or a bundle; it predicts labels with probabilities, without torch."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np
import numpy.typing as npt

from kdtool.api.arguments import model_info
from kdtool.api.images import AnyImage, Encoded, is_many, names_of, stacked
from kdtool.core.checks import whole_number
from kdtool.core.errors import ModelFileError, UsageError
from kdtool.core.modelinfo import ModelInfo
from kdtool.core.preprocess import FloatArray, Preprocess
from kdtool.core.spelling import Caller, called_from
from kdtool.recipe.choices import MOST_THREADS
from kdtool.runs.folder import RunFolder
from kdtool.runtime.classify import logits_of, ranked, softmax
from kdtool.runtime.onnxruntime import OnnxSession, open_model

BATCH = 32
MODEL = "model.onnx"  # file in a bundle
Image = TypeVar("Image", bound=AnyImage)


@dataclass(frozen=True, repr=False)
class Prediction:
    """The most likely classes of one image.

    Attributes:
        labels: names of the classes, the most likely first.
        probabilities: probability of each class, by the softmax of the logits.

    Example:
        prediction = model.predict("cat.jpg", top=3)
        prediction.label, prediction.probability
        dict(prediction)
    """

    labels: tuple[str, ...]
    probabilities: tuple[float, ...]

    @property
    def label(self) -> str:
        """The most likely class."""
        return self.labels[0]

    @property
    def probability(self) -> float:
        """Probability of the most likely class."""
        return self.probabilities[0]

    def __iter__(self) -> Iterator[tuple[str, float]]:
        return iter(zip(self.labels, self.probabilities, strict=True))

    def __repr__(self) -> str:
        return f"Prediction({', '.join(f'{label} {100 * value:.1f} %' for label, value in self)})"


class Model:
    """A loaded classifier; `kdtool.load` opens one.

    An image is a path, encoded bytes, a PIL image or an array (H, W, 3) of uint8, RGB, of any size. The model
    resizes, crops and normalizes it as the model file states.

    Example:
        model = kdtool.load("artifacts/paper")
        model.predict(["cat.jpg", "dog.jpg"])
    """

    def __init__(self, session: OnnxSession, info: ModelInfo) -> None:
        self._session, self._info = session, info

    @property
    def path(self) -> Path:
        """The file that the model was loaded from."""
        return self._session.path

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the logits."""
        return self._info.classes

    @property
    def preprocess(self) -> Preprocess:
        """Preprocessing of a photograph for the network."""
        return self._info.preprocess

    @property
    def precision(self) -> str:
        """Precision of the weights: fp32 or int8."""
        return self._info.precision

    @overload
    def predict(self, x: Encoded, top: int = 1) -> Prediction: ...

    @overload
    def predict(self, x: list[Image] | tuple[Image, ...], top: int = 1) -> list[Prediction]: ...

    @overload
    def predict(self, x: npt.NDArray[np.uint8], top: int = 1) -> Any: ...

    @called_from(Caller.FUNCTION)
    def predict(self, x: Any, top: int = 1) -> Prediction | list[Prediction]:
        """Predict the most likely classes of one image or of many.

        Args:
            x: one image, or many: a list, a tuple or an array (N, H, W, 3).
            top: number of classes for each image.

        Returns:
            One Prediction for one image, a list of them for many.

        Raises:
            UsageError: x is not an image or images, or top is not a whole number from 1.
            DataError: an image cannot be read.
            GateError: the logits contain NaN or infinity.
        """
        top = whole_number("top", top, 1)
        logits = self.logits(x)
        rows = logits if is_many(x) else logits[None]
        predictions = [_prediction(row, self.labels, top) for row in rows]
        return predictions if is_many(x) else predictions[0]

    @called_from(Caller.FUNCTION)
    def logits(self, x: AnyImage | Sequence[AnyImage]) -> FloatArray:
        """Compute the logits, the output of the network before the softmax.

        Args:
            x: one image, or many: a list, a tuple or an array (N, H, W, 3).

        Returns:
            (classes,) float32 for one image, (N, classes) for many.

        Raises:
            UsageError, DataError, GateError: as `predict`.
        """
        images: Any = x if is_many(x) else [x]
        parts = [self._batch(images[start : start + BATCH]) for start in range(0, len(images), BATCH)]
        logits = np.concatenate(parts) if parts else np.empty((0, len(self.labels)), np.float32)
        return logits if is_many(x) else logits[0]

    def _batch(self, images: Sequence[AnyImage]) -> FloatArray:
        pixels = stacked(images, self.preprocess)
        return logits_of(self._session, pixels, self.preprocess, len(self.labels), names=names_of(images))

    def __repr__(self) -> str:
        side = self.preprocess.size
        return (
            f"Model({self.path}: {self._info.arch}, {self.precision}, {len(self.labels)} classes, "
            f"{side} × {side} pixels)"
        )


def _prediction(logits: FloatArray, labels: Sequence[str], top: int) -> Prediction:
    names, probabilities = zip(*ranked(softmax(logits), labels, top), strict=True)
    return Prediction(names, tuple(round(probability, 6) for probability in probabilities))


@called_from(Caller.FUNCTION)
def load(
    path: str | Path,
    *,
    classes: Sequence[str] | None = None,
    preprocess: Preprocess | None = None,
    threads: int = 0,
) -> Model:
    """Load a classifier; torch is not needed.

    Args:
        path: an ONNX file, the folder of a run (its student in float32), or a bundle, as folder or zip.
        classes: names in the order of the logits, for a file that does not state them.
        preprocess: preprocessing of a photograph, for a file that does not state it.
        threads: threads of the runtime; 0 is every processor that this process may use.

    Raises:
        UsageError: the folder has no model, classes and preprocess are not known, or threads is wrong.
        ModelFileError: the file is missing, broken, hostile or not an image classifier.

    Example:
        model = kdtool.load("artifacts/paper/onnx/student.int8.onnx")
        model.predict("cat.jpg", top=3)
    """
    threads = whole_number("threads", threads, 0, MOST_THREADS)
    file = _model_in(Path(path))
    session = _from_zip(file, threads) if file.suffix == ".zip" else open_model(file, threads)
    return Model(session, model_info(file, session.info, classes, preprocess))


def _model_in(path: Path) -> Path:
    if not path.is_dir():
        return path
    candidates = RunFolder(path).onnx_model("student"), path / MODEL, path / "onnx" / MODEL
    file = next((candidate for candidate in candidates if candidate.is_file()), None)
    if file is None:
        raise UsageError(
            f"{path} has neither an exported student nor a bundle.",
            "Name an ONNX file, a run after kdtool export --onnx, or a bundle that kdtool bundle wrote.",
        )
    return file


def _from_zip(path: Path, threads: int) -> OnnxSession:
    """Open the model in the zip of a bundle, which has one folder."""
    try:
        with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory() as folder:
            names = [name for name in archive.namelist() if Path(name).parts[1:] == (MODEL,)]
            if len(names) != 1:
                raise ModelFileError(
                    f"{path} is not the zip of a bundle: it has {len(names)} files FOLDER/{MODEL}, not one.",
                    "Name the file bundle.zip that kdtool bundle wrote.",
                )
            session = open_model(Path(archive.extract(names[0], folder)), threads)
    except (OSError, zipfile.BadZipFile) as error:
        raise ModelFileError(f"{path}: cannot be read ({error}).", "Copy it again.") from error
    session.path = path / names[0]
    return session
