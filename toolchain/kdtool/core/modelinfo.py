"""What a model file says of itself: one record for safetensors and for ONNX.

Both formats carry string-to-string metadata; the record is JSON under the one key `METADATA_KEY`.
It holds nothing that differs between two identical runs: no time, no path, no host.
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
FINETUNED = "finetuned"  # the note of an INT8 model whose weights were trained on: for how long
MOST = (1 << 63) - 1  # parameters or MACs


@dataclass(frozen=True)
class ModelInfo:
    """Attributes:
    role: teacher, student or baseline.
    arch: `resnet18`, `timm/…`.
    classes: names in the order of the logits.
    precision: `fp32` or `int8`.
    label_smoothing: ε of the training targets; a smoothed teacher wants a low temperature.
    params: number of trainable parameters (float network), 0 where not yet counted.
    macs: multiply–accumulates of one image, 0 where not yet counted.
    weights_sha256: of the safetensors file an ONNX file was made from, else "".
    versions: of the libraries that made the file.
    notes: further facts, such as the quantization recipe.
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
        """Raises ValueError where a number is out of its range."""
        for name, count in (("params", self.params), ("macs", self.macs)):
            if not 0 <= count <= MOST:
                raise ValueError(f"{name} is {count}, allowed is 0 to 2^63 - 1")
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing is {self.label_smoothing}, allowed is 0 up to 1")

    def to_metadata(self) -> dict[str, str]:
        content = asdict(self) | {"schema": SCHEMA, "preprocess": self.preprocess.to_json()}
        return {METADATA_KEY: json.dumps(content, sort_keys=True, ensure_ascii=False)}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], path: Path) -> ModelInfo | None:
        """The record in `metadata`, or None where the file is not kdtool's.

        Raises:
            ModelFileError: there is a record and it cannot be understood.
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
