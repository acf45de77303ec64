"""Versions that a runtime must know to load a model file: of the format, and of the operators.

Field numbers are those of onnx.proto (ONNX IR, Apache-2.0) and of ONNX Runtime's ort.fbs (MIT licence). The
reader of .ort files in ONNX Runtime is not used, since it loads torch if torch is installed.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from flatbuffers.number_types import Int64Flags
from flatbuffers.table import Table

from kdtool.runtime.onnxbytes.wire import Value, WireError, fields

IR_VERSION, OPSET_IMPORT = 1, 8  # ModelProto
DOMAIN, VERSION = 1, 2  # OperatorSetIdProto
STANDARD = (b"", b"ai.onnx")


class _Ort:
    """Offsets of fields in the tables of an .ort file: 4 bytes of sizes, then 2 bytes for each field."""

    VERSION, MODEL = 4, 6  # InferenceSession
    OPSET_IMPORT = 6  # Model
    DOMAIN, OPSET_VERSION = 4, 6  # OperatorSetId


@dataclass(frozen=True)
class Versions:
    """Versions in a model file; 0 if the file does not say.

    Attributes:
        ir: version of the ONNX IR.
        opset: version of the standard operators.
        ort: version of the .ort format.
    """

    ir: int
    opset: int
    ort: int = 0


def onnx_versions(model: bytes) -> Versions:
    """Read the versions in an ONNX file.

    Raises:
        WireError: the bytes are not a protobuf message.
    """
    ir = opset = 0
    for number, _, value in fields(memoryview(model)):
        if number == IR_VERSION and isinstance(value, int):
            ir = value
        elif number == OPSET_IMPORT and not isinstance(value, int):
            entry: dict[int, Value] = {inner: content for inner, _, content in fields(value)}
            domain, version = entry.get(DOMAIN, memoryview(b"")), entry.get(VERSION, 0)
            if not isinstance(domain, int) and bytes(domain) in STANDARD and isinstance(version, int):
                opset = version
    return Versions(ir, opset)


def ort_versions(content: bytes) -> Versions:
    """Read the versions in an .ort file; `ir` is 0, since ONNX Runtime ignores the IR version of such files.

    Raises:
        WireError: the bytes are not an .ort file.
    """
    try:
        session = Table(content, Table(content, 0).Indirect(0))
        model = Table(content, session.Indirect(session.Pos + session.Offset(_Ort.MODEL)))
        opset, entries = 0, model.Offset(_Ort.OPSET_IMPORT)
        for number in range(model.VectorLen(entries)):
            entry = Table(content, model.Indirect(model.Vector(entries) + 4 * number))
            if _text(entry, _Ort.DOMAIN) in STANDARD:
                opset = entry.GetSlot(_Ort.OPSET_VERSION, 0, Int64Flags)
        return Versions(0, opset, int(_text(session, _Ort.VERSION)))
    except (struct.error, TypeError, ValueError) as error:
        raise WireError(f"not an .ort file: {error}") from error


def _text(table: Table, place: int) -> bytes:
    offset = table.Offset(place)
    return bytes(table.String(table.Pos + offset)) if offset else b""
