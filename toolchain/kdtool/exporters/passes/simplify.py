"""Simplification by onnxsim in a child process, because onnxsim has crashed on unusual graphs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import onnx

from kdtool.core.modelinfo import ModelInfo
from kdtool.core.quiet import quietly
from kdtool.exporters.passes.pooling import use_global_average_pool
from kdtool.graph.onnxfile import onnx_bytes

# -P: a package must not be imported from the current folder.
COMMAND = (sys.executable, "-P", "-m", "kdtool.exporters.passes.simplify_child")
TIMEOUT = 600.0
SOURCE_ROOT = Path(__file__).parents[3]


class SimplifyError(Exception):
    """Reason, in words, why there is no simplified model; the raw model is correct as well."""


def simplify(
    payload: bytes, info: ModelInfo, command: Sequence[str] = COMMAND, timeout: float = TIMEOUT
) -> bytes:
    """Return the simplified model, with the same inputs and outputs.

    Args:
        payload: content of an ONNX file.
        info: the record for the file; it replaces the notes of onnxsim.
        command: the child, which reads the model on standard input and writes it on standard output.
        timeout: seconds.

    Raises:
        SimplifyError: the child crashed, took too long, or wrote something else.
    """
    paths = (str(SOURCE_ROOT), os.environ.get("PYTHONPATH", ""))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in paths if path)}
    try:
        child = subprocess.run(  # noqa: S603 (this interpreter, a module of kdtool)
            command, input=payload, capture_output=True, timeout=timeout, env=environment, check=False
        )
    except subprocess.TimeoutExpired:
        raise SimplifyError(f"onnxsim took more than {timeout:g} s") from None
    except OSError as error:
        raise SimplifyError(f"onnxsim could not be started ({error.strerror or error})") from error
    if child.returncode != 0:
        last = (child.stderr.decode("utf-8", "replace").strip().splitlines() or ["no message"])[-1]
        raise SimplifyError(f"onnxsim ended with {_ending(child.returncode)}: {last}")
    return _checked(child.stdout, payload, info)


def _checked(output: bytes, payload: bytes, info: ModelInfo) -> bytes:
    try:
        simplified, raw = onnx.load_model_from_string(output), onnx.load_model_from_string(payload)
        with quietly():
            onnx.checker.check_model(simplified)
    except Exception as error:  # protobuf and the checker raise many kinds of exceptions
        raise SimplifyError(f"onnxsim wrote no valid model ({type(error).__name__})") from error
    if _interface(simplified) != _interface(raw):
        raise SimplifyError("onnxsim changed the inputs or outputs")
    use_global_average_pool(simplified)
    return onnx_bytes(simplified, info)


def _interface(model: onnx.ModelProto) -> list[tuple[str, bytes]]:
    values = (*model.graph.input, *model.graph.output)
    return [(value.name, value.type.SerializeToString(deterministic=True)) for value in values]


def _ending(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
