"""What a runtime asks of an .ort file: the version of the format, and that of the operators inside.

A FlatBuffer: a table begins with the distance back to its list of places (2 bytes a field), and a place
holds a number, or the distance on to a string, a list or another table. Fields are those of ONNX Runtime's
schema (ort.fbs, MIT licence). Its own reader comes with a package that loads torch where torch is.
"""

from __future__ import annotations

import struct

from kdtool.runtime.onnxbytes.onnxfacts import STANDARD, Versions

ORT_VERSION, MODEL = 0, 1  # InferenceSession
OPSET_IMPORT = 1  # Model
DOMAIN, VERSION = 0, 1  # OperatorSetId


def versions_in_ort(content: bytes) -> Versions:
    """The versions an .ort file asks for. Its reader does not look at the IR version: 0.

    Raises:
        struct.error, ValueError: it is not one.
    """
    session = _there(content, 0)
    opset = 0
    model = _there(content, _place(content, session, MODEL))
    entries = _there(content, _place(content, model, OPSET_IMPORT))
    for number in range(_number("<I", content, entries)):
        entry = _there(content, entries + 4 + 4 * number)
        if _text(content, _place(content, entry, DOMAIN)) in STANDARD:
            opset = _number("<q", content, _place(content, entry, VERSION))
    return Versions(0, opset, int(_text(content, _place(content, session, ORT_VERSION))))


def _place(content: bytes, table: int, field: int) -> int:
    """Where the field of a table is; 0 where it is left out."""
    places = table - _number("<i", content, table)
    offset = 4 + 2 * field  # after the sizes of the list and of the table
    inside = offset < _number("<H", content, places)
    place = _number("<H", content, places + offset) if inside else 0
    return table + place if place else 0


def _there(content: bytes, place: int) -> int:
    """Where the distance at `place` leads."""
    return place + _number("<I", content, place)


def _text(content: bytes, place: int) -> bytes:
    if not place:
        return b""
    begin = _there(content, place)
    return content[begin + 4 : begin + 4 + _number("<I", content, begin)]


def _number(kind: str, content: bytes, place: int) -> int:
    return int(struct.unpack_from(kind, content, place)[0])
