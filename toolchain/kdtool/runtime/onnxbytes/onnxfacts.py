"""What a runtime asks of an ONNX file before it loads it: the version of the format and of the operators."""

from __future__ import annotations

from dataclasses import dataclass

from kdtool.runtime.onnxbytes.wire import Value, fields

IR_VERSION, OPSET_IMPORT = 1, 8  # ModelProto (onnx.proto, Apache-2.0)
DOMAIN, VERSION = 1, 2  # OperatorSetIdProto
STANDARD = (b"", b"ai.onnx")


@dataclass(frozen=True)
class Versions:
    """Of IR and of the standard operators; `ort`: of the .ort format. 0 where the file does not say."""

    ir: int
    opset: int
    ort: int = 0


def versions_in(model: bytes) -> Versions:
    """The versions an ONNX file asks for.

    Raises:
        WireError: the bytes are no protobuf message.
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
