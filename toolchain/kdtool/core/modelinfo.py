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

METADATA_KEY = "kdtool"
SCHEMA = 1


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
            content = json.loads(metadata[METADATA_KEY])
            if content.pop("schema") != SCHEMA:
                raise ValueError("written by another version of kdtool")
            content["preprocess"] = Preprocess.from_json(content["preprocess"])
            content["classes"] = tuple(str(name) for name in content["classes"])
            return cls(**content)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ModelFileError(
                f"{path}: its kdtool metadata cannot be read ({error}).",
                "Export it again with: kdtool export --onnx",
            ) from error
