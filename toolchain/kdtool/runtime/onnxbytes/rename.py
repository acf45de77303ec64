"""Renaming of the input of an ONNX file, byte by byte, since a device has no onnx package."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from kdtool.runtime.onnxbytes.wire import BYTES, FIXED32, FIXED64, VARINT, Value, WireError, fields

GRAPH = 7  # ModelProto
NODE, INPUT, VALUE_INFO, QUANTIZATION = 1, 11, 13, 14  # GraphProto
NODE_INPUT, VALUE_NAME = 1, 1
ATTRIBUTE, SUBGRAPH, SUBGRAPHS = 5, 6, 11  # NodeProto, AttributeProto

Edit = Callable[[int, Value], Value]


def rename_input(model: bytes, old: str, new: str) -> bytes:
    """Rename the input `old` of an ONNX file to `new`; all other bytes stay the same.

    Raises:
        WireError: the bytes are not a protobuf message, or a subgraph (loop, branch) might use the input.
    """
    before, after = old.encode(), new.encode()

    def name(_: int, value: Value) -> Value:
        return memoryview(after) if not isinstance(value, int) and bytes(value) == before else value

    def node(number: int, value: Value) -> Value:
        if number == ATTRIBUTE and not isinstance(value, int):
            if any(inner in (SUBGRAPH, SUBGRAPHS) for inner, _, _ in fields(value)):
                raise WireError("a node has a subgraph, which may use the input")
            return value
        return name(number, value) if number == NODE_INPUT else value

    def graph(number: int, value: Value) -> Value:
        if isinstance(value, int):
            return value
        if number == NODE:
            return _edited(value, node)
        if number in (INPUT, VALUE_INFO, QUANTIZATION):
            return _edited(value, lambda n, v: name(n, v) if n == VALUE_NAME else v)
        return value

    def root(number: int, value: Value) -> Value:
        return _edited(value, graph) if number == GRAPH and not isinstance(value, int) else value

    return bytes(_edited(memoryview(model), root))


def _edited(message: memoryview, edit: Edit) -> memoryview:
    return memoryview(b"".join(_encoded(message, edit)))


def _encoded(message: memoryview, edit: Edit) -> Iterator[bytes | memoryview]:
    for number, kind, value in fields(message):
        yield _varint(number << 3 | kind)
        changed = edit(number, value)
        if kind == VARINT and isinstance(changed, int):
            yield _varint(changed)
        elif not isinstance(changed, int):
            if kind == BYTES:
                yield _varint(len(changed))
            elif kind not in (FIXED32, FIXED64):
                raise WireError(f"wire type {kind}")
            yield changed


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
