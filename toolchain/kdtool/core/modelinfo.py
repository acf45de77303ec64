"""Record inside a model file that describes the model: the same for safetensors and for ONNX.

Both formats hold metadata that map strings to strings; the record is JSON under the key `METADATA_KEY`.
It contains nothing that differs between two identical runs: no time, no path, no host.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from kdtool.core.errors import ModelFileError
from kdtool.core.preprocess import Preprocess
from kdtool.core.typed import parse_record

METADATA_KEY = "kdtool"
SCHEMA = 1
FINETUNED = "finetuned"  # key of a note: how long the weights of an INT8 model were fine-tuned
LARGEST_COUNT = (1 << 63) - 1  # of parameters or MACs


@dataclass(frozen=True)
class ModelInfo:
    """Facts about the model in a file.

    Attributes:
        role: teacher, student or baseline.
        arch: name of the architecture: `resnet18`, `timm/…`.
        classes: names of the classes in the order of the logits.
        preprocess: rule that makes the input tensor from a photograph.
        precision: `fp32` or `int8`.
        label_smoothing: ε of the training targets; a smoothed teacher needs a low temperature.
        params: number of trainable parameters of the FP32 network, 0 if not yet counted.
        macs: multiply–accumulates of one image, 0 if not yet counted.
        weights_sha256: hash of the safetensors file that an ONNX file was made from, otherwise "".
        versions: versions of the libraries that made the file.
        notes: further facts, such as the quantization scheme.
    """

    role: str
    arch: str
    classes: tuple[str, ...]
    preprocess: Preprocess
    precision: str = "fp32"
    label_smoothing: float = 0.0
    params: int = 0
    macs: int = 0
    weights_sha256: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise ValueError if a number is out of its range."""
        for name, count in (("params", self.params), ("macs", self.macs)):
            if not 0 <= count <= LARGEST_COUNT:
                raise ValueError(f"{name} is {count}, allowed is 0 to 2^63 - 1")
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing is {self.label_smoothing}, allowed is 0 to below 1")

    def to_metadata(self) -> dict[str, str]:
        content = asdict(self) | {"schema": SCHEMA, "preprocess": self.preprocess.to_json()}
        return {METADATA_KEY: json.dumps(content, sort_keys=True, ensure_ascii=False)}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], path: Path) -> ModelInfo | None:
        """Return the record in `metadata`, or None if kdtool did not write the file.

        Raises:
            ModelFileError: there is a record, but it is not valid.
        """
        if METADATA_KEY not in metadata:
            return None
        try:
            return parse_record(cls, metadata[METADATA_KEY], SCHEMA)
        except ValueError as error:
            raise ModelFileError(
                f"{path}: its kdtool metadata cannot be read ({error}).",
                "Export it again with: kdtool export --onnx",
            ) from error
