"""Check of an ONNX file before any runtime opens it.

A model file is untrusted input. The guard refuses: files that are not ONNX, tensors in other files, operators
of unknown libraries, tensors larger than the file, constants that become very large when a runtime computes
them, nodes without an output, texts that are not UTF-8, and subgraphs that are nested too deeply. Field
numbers are those of onnx.proto (ONNX IR, Apache-2.0).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from kdtool.core.errors import ModelFileError
from kdtool.runtime.onnxbytes.constants import ELEMENTS_LIMIT as CONSTANT_LIMIT
from kdtool.runtime.onnxbytes.constants import Constants
from kdtool.runtime.onnxbytes.wire import BYTES, VARINT, Value, WireError, fields, packed, signed

SIZE_LIMIT = (1 << 31) - 1  # bytes; the limit of protobuf
ELEMENTS_LIMIT = 1 << 27  # elements of a declared input, output or other value: 0.5 GB of float32
DEPTH_LIMIT = 32
ORT_MARK = b"ORTM"  # the fifth to eighth byte of a file in ONNX Runtime's own format
# Domains of ONNX, and those that onnxruntime registers and writes into optimized files.
DOMAINS = frozenset(
    {
        "",
        "ai.onnx",
        "ai.onnx.ml",
        "ai.onnx.preview",
        "ai.onnx.preview.training",
        "ai.onnx.training",
        "com.microsoft",
        "com.microsoft.experimental",
        "com.microsoft.nchwc",
        "com.ms.internal.nhwc",
        "org.pytorch.aten",
    }
)
# Fields that contain messages: kind of the outer message → field number → kind of the inner message.
NESTED: dict[str, dict[int, str]] = {
    "model": {7: "graph", 8: "opset", 14: "entry", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph", 3: "entry", 4: "entry"},
    "function": {7: "node", 9: "opset", 11: "attribute", 12: "value", 14: "entry"},
    "graph": {
        1: "node", 5: "tensor", 11: "value", 12: "value", 13: "value", 14: "annotation", 15: "sparse",
        16: "entry",
    },
    "node": {5: "attribute", 9: "entry"},
    "attribute": {
        5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 14: "type", 15: "type", 22: "sparse",
        23: "sparse",
    },
    "tensor": {16: "entry"},
    "sparse": {1: "tensor", 2: "tensor"},
    "value": {2: "type", 4: "entry"},
    "type": {1: "tensor type", 4: "sequence", 5: "map", 7: "opaque", 8: "tensor type", 9: "sequence"},
    "sequence": {1: "type"},
    "map": {2: "type"},
    "tensor type": {2: "shape"},
    "shape": {1: "side"},
    "annotation": {2: "entry"},
}  # fmt: skip
# Fields of type string. Fields of type bytes, such as the values of a string tensor, may hold anything.
TEXTS: dict[str, frozenset[int]] = {
    "model": frozenset({2, 3, 4, 6}),
    "function": frozenset({1, 4, 5, 6, 8, 10, 13}),
    "graph": frozenset({2, 10}),
    "node": frozenset({1, 2, 3, 4, 6, 7, 8}),
    "attribute": frozenset({1, 13, 21}),
    "tensor": frozenset({8, 12}),
    "value": frozenset({1, 3}),
    "type": frozenset({6}),
    "opaque": frozenset({1, 2}),
    "side": frozenset({2, 3}),
    "opset": frozenset({1}),
    "entry": frozenset({1, 2}),
    "annotation": frozenset({1}),
}
OPSET_DOMAIN = 1
GRAPH, FUNCTION, FUNCTION_DOMAIN, NODE_DOMAIN, DIM = 7, 25, 10, 7, 1
TENSOR_DIMS, FLOAT_DATA, DOUBLE_DATA, EXTERNAL_DATA, DATA_LOCATION = 1, 4, 10, 13, 14
WIDTHS = {FLOAT_DATA: 4, DOUBLE_DATA: 8}
NODE_OUTPUT, SPARSE_DIMS = 2, 3


class _RefusedError(ValueError):
    """Reason why a file is refused, as the end of a sentence."""

    hint = "kdtool opens only files without external data, made of standard operators."


class _TooLargeError(_RefusedError):
    """A constant is too large to be made out of nothing."""

    hint = "Store the constant in the file: a weight that the file contains may be of any size."


def read_model(path: Path) -> bytes:
    """Read an ONNX file and check its content.

    Raises:
        ModelFileError: the file is missing, a folder, empty, too large, not ONNX, or refused by the guard.
    """
    if path.is_dir():
        raise ModelFileError(f"{path}: a folder, not an ONNX file.", "Name the .onnx file in it.")
    if not path.is_file():
        raise ModelFileError(f"{path}: no such file.", "Make one with: kdtool export --onnx")
    try:
        size = path.stat().st_size
        if size > SIZE_LIMIT:
            raise ModelFileError(
                f"{path}: {size:,} bytes, over the limit of an ONNX file, {SIZE_LIMIT:,} bytes.",
                "Export a smaller network.",
            )
        content = path.read_bytes()
    except OSError as error:
        raise ModelFileError(
            f"{path}: cannot be read ({error.strerror or error}).", "Check its permissions."
        ) from error
    check_model(content, str(path))
    return content


def check_model(content: bytes, name: str) -> None:
    """Check the content of an ONNX file; messages call the file `name`.

    Raises:
        ModelFileError: the content is not ONNX, or is refused.
    """
    # This check comes first: these bytes alone decide how ONNX Runtime reads a file, and a valid ONNX file
    # can contain them.
    if content[4:8] == ORT_MARK:
        raise ModelFileError(
            f"{name}: this file has ONNX Runtime's own format (.ort), it is not ONNX.",
            "Name the .onnx file beside it, from which kdtool export --ort made it.",
        )
    try:
        if not content:
            raise WireError("it is empty")
        model = memoryview(content)
        if not any(number == GRAPH and kind == BYTES for number, kind, _ in fields(model)):
            raise WireError("it holds no graph")
        constants = Constants()
        _check("model", model, DOMAINS | frozenset(_function_domains(model)), 0, constants)
        for operator, shape in constants.too_large():
            raise _TooLargeError(
                f"its operator {operator} makes a constant of shape {_shape(shape)}; allowed are "
                f"{CONSTANT_LIMIT:,} elements that the file does not contain"
            )
    except WireError as error:
        raise ModelFileError(
            f"{name}: not an intact ONNX file ({error}).",
            "Copy it again, or export it again with: kdtool export --onnx",
        ) from error
    except _RefusedError as error:
        raise ModelFileError(
            f"{name}: refused; {error}.",
            error.hint,
        ) from error


def _function_domains(model: memoryview) -> Iterator[str]:
    """Yield the domains of the functions that the file itself defines."""
    for number, kind, function in fields(model):
        if number == FUNCTION and kind == BYTES:
            for inner, _, value in fields(_message(function)):
                if inner == FUNCTION_DOMAIN:
                    yield _text(value)


def _check(kind: str, message: memoryview, domains: frozenset[str], depth: int, constants: Constants) -> None:
    if depth > DEPTH_LIMIT:
        raise _RefusedError(f"messages are nested more than {DEPTH_LIMIT} deep")
    nested, texts = NESTED.get(kind, {}), TEXTS.get(kind, frozenset())
    for number, _, value in fields(message):
        if number in nested:
            _check(nested[number], _message(value), domains, depth + 1, constants)
        elif number in texts:
            text = _text(value)
            if (kind, number) in (("node", NODE_DOMAIN), ("opset", OPSET_DOMAIN)):
                _check_domain(text, domains)
    if kind == "tensor":
        _check_tensor(message)
        constants.add_tensor(message)
    elif kind == "node":
        if not any(number == NODE_OUTPUT for number, _, _ in fields(message)):
            raise _RefusedError("one of its nodes has no output")
        constants.add_node(message)
    elif kind == "sparse":
        _check_sparse(message)
    elif kind == "shape":
        _check_size([_dim(_message(value)) for number, _, value in fields(message) if number == DIM])


def _check_domain(domain: str, domains: frozenset[str]) -> None:
    if domain not in domains:
        raise _RefusedError(f"it needs operators of {domain!r}, which no standard runtime has")


def _check_tensor(tensor: memoryview) -> None:
    dims: list[int] = []
    for number, kind, value in fields(tensor):
        if number == TENSOR_DIMS:
            dims += [signed(dim) for dim in _list(value)]
        elif number in WIDTHS and kind == BYTES and len(_message(value)) % WIDTHS[number]:
            raise WireError("the values of a tensor are cut off")
        elif number == EXTERNAL_DATA or (number == DATA_LOCATION and (kind != VARINT or value != 0)):
            raise _RefusedError("the values of a tensor are in another file (external data)")
    elements = math.prod(dims)
    # The message contains all values, and a value has at least one bit.
    if min(dims, default=0) < 0 or elements > 8 * len(tensor):
        raise _RefusedError(f"a tensor claims the shape {_shape(dims)} but has {len(tensor):,} bytes")


def _check_sparse(tensor: memoryview) -> None:
    """Check the dense size of a sparse tensor: a runtime makes it dense when it loads the file."""
    dims = [
        signed(dim) for number, _, value in fields(tensor) if number == SPARSE_DIMS for dim in _list(value)
    ]
    if min(dims, default=0) < 0 or math.prod(dims) > CONSTANT_LIMIT:
        raise _RefusedError(f"a sparse tensor claims the shape {_shape(dims)}")


def _list(value: Value) -> Iterable[int]:
    """Integers of a repeated field, packed or not."""
    return [value] if isinstance(value, int) else packed(value)


def _check_size(dims: list[int]) -> None:
    """Check the shape of a declared value; 0 and −1 are free sides."""
    if min(dims, default=0) < -1 or math.prod(max(dim, 1) for dim in dims) > ELEMENTS_LIMIT:
        raise _RefusedError(f"a value is declared with the shape {_shape(dims)}")


def _dim(message: memoryview) -> int:
    return next((signed(v) for n, _, v in fields(message) if n == DIM and isinstance(v, int)), 0)


def _message(value: Value) -> memoryview:
    if isinstance(value, int):
        raise WireError("a number where a message belongs")
    return value


def _text(value: Value) -> str:
    try:
        return bytes(_message(value)).decode("utf-8")
    except UnicodeDecodeError as error:
        # Otherwise a runtime would fail later, when it decodes the bytes for a message or a list of names.
        raise _RefusedError("one of its names or other texts is not UTF-8") from error


def _shape(dims: Sequence[float]) -> str:
    shown = " × ".join(f"{dim:.0f}" for dim in dims[:8])
    return shown + (" × …" if len(dims) > 8 else "")
