"""Decoder of the wire format of Protocol Buffers, as far as reading an ONNX file needs it.

A device has no onnx package, and a file must be checked before a runtime opens it. Every message is a
sequence of fields; a field is a tag (number << 3 | wire type) and a value. Source: "Encoding",
Protocol Buffers documentation.
"""

from __future__ import annotations

from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_WIDTHS = {FIXED64: 8, FIXED32: 4}
_VARINT_BYTES = 10
_INT64 = 1 << 63

Value = int | memoryview


class WireError(ValueError):
    """Error: the bytes are not a protobuf message."""


def fields(message: memoryview) -> Iterator[tuple[int, int, Value]]:
    """Yield (number, wire type, value) of each field; the value is an integer for varints, otherwise bytes.

    Raises:
        WireError: a field is cut off, has the number 0, or has an unknown wire type.
    """
    position, end = 0, len(message)
    while position < end:
        tag, position = _varint(message, position)
        number, kind = tag >> 3, tag & 7
        if number == 0 or number >= 1 << 29:
            raise WireError(f"field number {number}")
        if kind == VARINT:
            value, position = _varint(message, position)
            yield number, kind, value
            continue
        if kind == BYTES:
            width, position = _varint(message, position)
        elif kind in _WIDTHS:
            width = _WIDTHS[kind]
        else:
            raise WireError(f"wire type {kind}")  # 3 and 4 are groups, which ONNX never had
        if width > end - position:
            raise WireError("cut off")
        yield number, kind, message[position : position + width]
        position += width


def signed(value: int) -> int:
    """Convert an unsigned varint to the int64 that it encodes as a two's complement."""
    return value - 2 * _INT64 if value >= _INT64 else value


def packed(message: memoryview) -> Iterator[int]:
    """Yield the integers of a packed repeated field."""
    position = 0
    while position < len(message):
        value, position = _varint(message, position)
        yield value


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for index in range(_VARINT_BYTES):
        if position + index >= len(message):
            raise WireError("cut off")
        byte = message[position + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value & (2 * _INT64 - 1), position + index + 1
    raise WireError("an integer of more than 64 bits")
