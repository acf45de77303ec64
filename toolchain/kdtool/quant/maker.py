"""INT8 models of one FP32 model: how each is made and how its accuracy is measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from kdtool.core.errors import ModelFileError
from kdtool.core.modelinfo import ModelInfo
from kdtool.data.reader import Split
from kdtool.graph.onnxfile import onnx_bytes
from kdtool.machine.packages import versions_of
from kdtool.quant.accuracy import Accuracy, top1
from kdtool.quant.images import CalibrationImages
from kdtool.quant.int8 import quantize_to_int8
from kdtool.quant.observe import Histograms, ranges_of
from kdtool.quant.target import Int8Scheme
from kdtool.recipe.choices import Calibration
from kdtool.runtime.onnxruntime import open_model

PRECISION = "int8"
VERSIONS = ("onnx", "onnxruntime")


@dataclass(frozen=True)
class Choice:
    """Choices that determine an INT8 model, together with the FP32 model and its histograms.

    Attributes:
        fp32_layers: names of the layers that are kept in FP32.
    """

    scheme: Int8Scheme
    calibration: Calibration
    fp32_layers: tuple[str, ...] = ()

    def __str__(self) -> str:
        layers = f", {len(self.fp32_layers)} layer(s) in FP32" if self.fp32_layers else ""
        return f"{self.scheme}; {self.calibration}{layers}"


@dataclass(frozen=True)
class Maker:
    """Maker of INT8 models of the FP32 model `source`.

    Attributes:
        info: the record in `source`.
        histograms: histograms of the activations of `source` on `images`.
        images: calibration images.
        images_name: name of these images in the note of the file.
    """

    source: Path
    info: ModelInfo
    histograms: Histograms
    images: CalibrationImages
    images_name: str = "training images"

    def write(self, path: Path, choice: Choice, only: Sequence[str] = ()) -> None:
        """Write the INT8 model to `path`.

        Args:
            only: names of the nodes to quantize; empty: all but `choice.fp32_layers`.

        Raises:
            ModelFileError: the quantizer cannot handle the graph.
        """
        scheme = choice.scheme
        ranges = ranges_of(self.histograms, choice.calibration)
        model = quantize_to_int8(self.source, ranges, scheme, only, choice.fp32_layers)
        notes = {
            "quantization": f"{scheme}: {scheme.reason}",
            "target": scheme.target.value,
            "calibration": f"{choice.calibration} over {len(self.images)} {self.images_name}",
        }
        if choice.fp32_layers:
            notes["float_layers"] = ", ".join(choice.fp32_layers)
        info = replace(
            self.info,
            precision=PRECISION,
            versions={**self.info.versions, **versions_of(VERSIONS)},
            notes={**self.info.notes, **notes},
        )
        path.write_bytes(onnx_bytes(model, info))


def measure_accuracy(path: Path, split: Split, most: int | None = None) -> tuple[Accuracy, ModelInfo]:
    """Measure top-1 of an ONNX file of kdtool on a split, or on `most` of its images, evenly spread.

    Raises:
        ModelFileError: the file is broken, or not a model of kdtool.
    """
    session = open_model(path)
    try:
        if session.info is None:
            raise ModelFileError(
                f"{path}: not a model of kdtool.",
                f"Export it again with: kdtool export --onnx {path.parent.parent}",
            )
        return top1(session, _part(split, most), session.info.preprocess), session.info
    finally:
        session.close()


def _part(split: Split, most: int | None) -> Split:
    if most is None or len(split.labels) <= most:
        return split
    chosen = np.linspace(0, len(split.labels) - 1, most).round().astype(np.intp)
    return replace(split, images=split.images[chosen], labels=split.labels[chosen])
