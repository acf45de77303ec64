"""ORT, ONNX Runtime's format for phones, and the operators that a reduced runtime needs for a file.

The graph is optimized once, when the file is written. Optimizations that only suit x86 (NCHWc layout) are
left out, as in ONNX Runtime's converter for mobile targets.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kdtool.core.errors import ModelFileError
from kdtool.core.quiet import quietly
from kdtool.core.spelling import argument
from kdtool.core.text import cause_of
from kdtool.runtime.onnxruntime import new_session, session_options

NOT_FOR_ARM = ["NchwcTransformer"]


def write_ort(content: bytes, target: Path, name: Path) -> None:
    """Write the ONNX file `content` to `target` in ORT format; messages call the result `name`.

    Raises:
        ModelFileError: ONNX Runtime cannot convert the file.
    """
    options = session_options(1)
    options.optimized_model_filepath = str(target)
    options.add_session_config_entry("session.save_model_format", "ORT")
    try:
        new_session(content, options, disabled_optimizers=list(NOT_FOR_ARM))
    except Exception as error:  # onnxruntime's exceptions share no base class
        raise _failed(name, error) from error


def required_operators(model: Path, name: Path) -> str:
    """Return the configuration for a reduced build of ONNX Runtime that runs the ORT file `model`.

    Raises:
        ModelFileError: the file cannot be read.
    """
    config = model.with_name(f"{model.name}.config")
    try:
        with quietly():
            from onnxruntime.tools.ort_format_model import create_config_from_models

            create_config_from_models([model], config, True)
        lines = config.read_text("utf-8").splitlines()
    except Exception as error:  # the reader raises many kinds of exceptions
        raise _failed(name, error) from error
    finally:
        config.unlink(missing_ok=True)
    operators = [line for line in lines if not line.startswith("#")]  # the comments name the temporary file
    return "\n".join([f"# Generated from {name.name}", *operators]) + "\n"


def open_ort(content: bytes, name: Path) -> Any:
    """Open a session on an ORT file that was just written. Never open one from others: it is not checked.

    Raises:
        ModelFileError: the file does not load.
    """
    options = session_options(1)
    options.add_session_config_entry("session.load_model_format", "ORT")
    try:
        return new_session(content, options)
    except Exception as error:  # onnxruntime's exceptions share no base class
        raise _failed(name, error) from error


def _failed(name: Path, error: Exception) -> ModelFileError:
    return ModelFileError(
        f"{name}: ONNX Runtime cannot write it in ORT format ({cause_of(error)}).",
        f"Ship the ONNX file instead, without {argument('ort')}.",
    )
