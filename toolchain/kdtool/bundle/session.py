"""Opening any file of a bundle: float32 or 8-bit input, ONNX or ONNX Runtime's own format."""

from __future__ import annotations

from pathlib import Path

from kdtool.core.errors import ModelFileError
from kdtool.runtime.onnxbytes.guard import ORT_MARK, read_model
from kdtool.runtime.onnxruntime import OnnxSession, session_of

AGAIN = "Copy the whole bundle again, or make it again with: kdtool bundle"


def open_shipped(path: Path) -> OnnxSession:
    """Load a file of a bundle.

    Raises:
        ModelFileError: it is not there, broken or hostile, or no image classifier.
    """
    content = read_model(path) if path.suffix == ".onnx" else _ort_content(path)
    return session_of(content, path, 0, AGAIN)


def _ort_content(path: Path) -> bytes:
    """The bytes of a file in ONNX Runtime's own format. The runtime goes by its mark, and would open ONNX of
    any name that nobody has judged."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read ({error.strerror or error}).", AGAIN) from error
    if content[4:8] != ORT_MARK:
        raise ModelFileError(
            f"{path}: not a file in ONNX Runtime's own format, whatever its name says.", AGAIN
        )
    return content
