"""Sessions for all model files of a bundle: float32 or 8-bit input, ONNX or ONNX Runtime's own format."""

from __future__ import annotations

from pathlib import Path

from kdtool.bundle.packing import COPY_AGAIN
from kdtool.core.errors import ModelFileError
from kdtool.runtime.onnxbytes.guard import ORT_MARK, read_model
from kdtool.runtime.onnxruntime import OnnxSession, session_of


def open_shipped(path: Path) -> OnnxSession:
    """Load a model file of a bundle.

    Raises:
        ModelFileError: the file is missing, broken, hostile or not an image classifier.
    """
    content = read_model(path) if path.suffix == ".onnx" else _ort_content(path)
    return session_of(content, path, 0, COPY_AGAIN)


def _ort_content(path: Path) -> bytes:
    """Read a file in ONNX Runtime's own format.

    The mark is checked, since the runtime ignores the file name: it would open an ONNX file called .ort,
    which no guard has checked.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read ({error.strerror or error}).", COPY_AGAIN) from error
    if content[4:8] != ORT_MARK:
        raise ModelFileError(
            f"{path}: not a file in ONNX Runtime's own format, whatever its name says.", COPY_AGAIN
        )
    return content
