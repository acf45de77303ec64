"""Record of classes and preprocessing in a model file, read without torch and without a runtime."""

from __future__ import annotations

import json
from pathlib import Path

from kdtool.core.errors import ModelFileError
from kdtool.core.modelinfo import ModelInfo
from kdtool.runtime.onnxbytes.guard import read_model
from kdtool.runtime.onnxbytes.wire import Value, fields

METADATA, KEY, VALUE = 14, 1, 2  # ModelProto.metadata_props and its entries (onnx.proto, Apache-2.0)
LENGTH_BYTES = 8
HEADER_LIMIT = 100_000_000  # the limit of safetensors


def onnx_info(path: Path) -> ModelInfo | None:
    """Read the record in an ONNX file; None if kdtool did not write one.

    Raises:
        ModelFileError: the guard refuses the file, the file is broken, or its record cannot be read.
    """
    model = memoryview(read_model(path))
    entries = [_texts(entry) for number, _, entry in fields(model) if number == METADATA]
    return ModelInfo.from_metadata({entry.get(KEY, ""): entry.get(VALUE, "") for entry in entries}, path)


def weights_info(path: Path) -> ModelInfo | None:
    """Read the record in a safetensors file; None if kdtool did not write one.

    The file begins with the length of a JSON header (8 bytes, little-endian), whose `__metadata__`
    holds texts by name. Source: the description of the format, safetensors 0.5.

    Raises:
        ModelFileError: the header is broken, or its record cannot be read.
    """
    try:
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(LENGTH_BYTES), "little")
            if not 0 < length <= HEADER_LIMIT:
                raise ValueError(f"its header has {length:,} bytes")
            metadata = json.loads(stream.read(length)).get("__metadata__") or {}
            texts = {key: value for key, value in metadata.items() if isinstance(value, str)}
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise ModelFileError(
            f"{path}: not a readable safetensors file ({error}).",
            "Copy the file again from its origin, or train again.",
        ) from error
    return ModelInfo.from_metadata(texts, path)


def _texts(message: Value) -> dict[int, str]:
    """Texts of a metadata entry by field number; the guard has checked the entry before."""
    assert not isinstance(message, int)
    return {
        number: bytes(value).decode("utf-8")
        for number, _, value in fields(message)
        if number in (KEY, VALUE) and not isinstance(value, int)
    }
