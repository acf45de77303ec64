"""Size of the constants that a file computes from other constants.

A runtime computes these constants while it loads a file, and allocates their memory: ConstantOfShape makes
gigabytes from two hundred bytes. So this module follows shapes from tensors and Constant nodes through the
operators below. The result of an operator on an activation is judged by its constant operands alone. The
check is not complete: it does not see a shape that arithmetic computes, nor how Reshape or Transpose changes
the sides. Field numbers are those of onnx.proto (ONNX IR, Apache-2.0).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice, zip_longest

from kdtool.runtime.onnxbytes.wire import Value, WireError, fields, packed, signed

ELEMENTS_LIMIT = 1 << 25  # 134 MB of float32
SIDES_LIMIT = 64  # sides of a shape, or entries of another operand that sets a size
NODE_INPUT, NODE_OUTPUT, NODE_OP, NODE_ATTRIBUTE = 1, 2, 4, 5
ATTRIBUTE_NAME, ATTRIBUTE_TENSOR = 1, 5
INTEGERS_OF_ATTRIBUTE, FLOATS_OF_ATTRIBUTE = (3, 8), (2, 7)  # field of one number, field of a list
DIMS, DATA_TYPE, FLOAT_DATA, INT32_DATA, INT64_DATA, NAME, RAW_DATA, DOUBLE_DATA = 1, 2, 4, 5, 7, 8, 9, 10
RAW_FORMATS = {1: "f", 5: "h", 6: "i", 7: "q", 11: "d"}  # float, int16, int32, int64, double

Numbers = tuple[float, ...]  # integers; a hostile file may hold other numbers


class Constants:
    """Tensors and nodes of all graphs of a file, in the order of the file."""

    def __init__(self) -> None:
        self._nodes: list[memoryview] = []
        self._values: dict[str, Numbers] = {}
        self._shapes: dict[str, Numbers] = {}

    def add_tensor(self, message: memoryview, name: str = "") -> None:
        """Add an initializer by its own name, or the value of a Constant node by `name`."""
        name = name or _text(next((value for number, _, value in fields(message) if number == NAME), b""))
        shape = tuple(float(signed(dim)) for dim in _integers(message, DIMS))
        few = math.prod(shape) <= SIDES_LIMIT
        self._remember(name, shape, _numbers(message) if few else (math.inf,))

    def add_node(self, message: memoryview) -> None:
        """Add a NodeProto."""
        self._nodes.append(message)

    def too_large(self) -> Iterator[tuple[str, Numbers]]:
        """Yield (operator, shape) of every value that is over the limit."""
        for message in self._nodes:
            node = _Node(message)
            shape = self._result_shape(node)
            inputs = [_elements(self._shapes[name]) for name in node.inputs if name in self._shapes]
            # `not … <=`, since a size may be NaN. A value may be as large as an input that the file contains.
            if shape is not None and not _elements(shape) <= max([ELEMENTS_LIMIT, *inputs]):
                yield node.op, shape

    def _result_shape(self, node: _Node) -> Numbers | None:
        """Shape of the result of a node, as far as it is known; remember the results of constant inputs."""
        if node.op == "Constant":
            self._constant(node)
            return None
        shapes = [self._shapes.get(name) for name in node.inputs]
        values = [self._values.get(name) for name in node.inputs]
        if node.op in SIZED:
            values += [node.numbers.get(name) for name in SIZED_BY_ATTRIBUTE.get(node.op, ())]
            shape = SIZED[node.op](shapes, values)
        elif any(known is None for known in shapes):
            return None
        elif node.op in BROADCASTING:
            shape = _broadcast(shapes)
        elif node.op == "MatMul":
            shape = _product(shapes)
        else:
            self._pass_on(node, shapes, values)
            return None
        if shape is not None and node.output:
            self._remember(node.output, shape, None)
        return shape

    def _pass_on(self, node: _Node, shapes: Known, values: Known) -> None:
        """Remember the result of an operator that only moves constants."""
        if node.op in PASSING and shapes:
            self._remember(node.output, shapes[0] or (), values[0])
        elif node.op == "Concat" and all(value is not None for value in values):
            joined = tuple(number for value in values for number in value or ())
            self._remember(node.output, (float(len(joined)),), joined)

    def _constant(self, node: _Node) -> None:
        if node.tensor is not None:
            self.add_tensor(node.tensor, node.output)
        for numbers in node.numbers.values():
            self._remember(node.output, (float(len(numbers)),), numbers)

    def _remember(self, name: str, shape: Numbers, values: Numbers | None) -> None:
        """Store a shape and values by name; if two graphs use the same name, the larger ones win."""
        self._shapes[name] = max(shape, self._shapes.get(name, ()), key=_elements)
        if values is not None:
            self._values[name] = max(values, self._values.get(name, ()), key=_elements)


class _Node:
    """Fields of a NodeProto that this module needs."""

    def __init__(self, message: memoryview) -> None:
        self.op = self.output = ""
        self.inputs: list[str] = []
        self.tensor: memoryview | None = None
        self.numbers: dict[str, Numbers] = {}
        outputs = []
        for number, _, value in fields(message):
            if number == NODE_INPUT:
                self.inputs.append(_text(value))
            elif number == NODE_OUTPUT:
                outputs.append(_text(value))
            elif number == NODE_OP:
                self.op = _text(value)
            elif number == NODE_ATTRIBUTE and not isinstance(value, int):
                self._attribute(value)
        self.output = outputs[0] if outputs else ""

    def _attribute(self, message: memoryview) -> None:
        name = ""
        numbers = _ShortList()
        for number, _, value in fields(message):
            if number == ATTRIBUTE_NAME:
                name = _text(value)
            elif number == ATTRIBUTE_TENSOR and not isinstance(value, int):
                self.tensor = value
            elif number in INTEGERS_OF_ATTRIBUTE:
                numbers.add_integers(value)
            elif number in FLOATS_OF_ATTRIBUTE:
                numbers.add_raw("f", value)
        if numbers.read():
            self.numbers[name] = numbers.read()


Known = Sequence[Numbers | None]  # shape or values of each input; None if they are not constant


def _at(known: Known, index: int) -> Numbers | None:
    return known[index] if index < len(known) else None


def _first_operand(_: Known, values: Known) -> Numbers | None:
    return _at(values, 0)


def _expand(shapes: Known, values: Known) -> Numbers | None:
    target = _at(values, 1)
    return None if target is None else _broadcast([_at(shapes, 0), target])


def _tile(shapes: Known, values: Known) -> Numbers | None:
    times = _at(values, 1)
    return None if times is None else _scaled(_at(shapes, 0), times)


def _resize(shapes: Known, values: Known) -> Numbers | None:
    """Shape after Upsample or Resize: inputs (x, scales), from opset 11 on (x, region, scales, sizes)."""
    scaled = [_scaled(_at(shapes, 0), scales) for scales in values[1:3] if scales]
    return max([*scaled, *(sizes for sizes in values[3:4] if sizes)], key=_elements, default=None)


def _pad(shapes: Known, values: Known) -> Numbers | None:
    """Shape after Pad; its pads are those before each axis, then those after each axis."""
    pads, sides = _at(values, 1), _at(shapes, 0)
    if not pads:
        return None
    half = len(pads) // 2
    added = tuple(before + after for before, after in zip(pads[:half], pads[half:], strict=False))
    if sides is None or len(sides) != len(added):
        return added
    return tuple(side + more for side, more in zip(sides, added, strict=True))


def _range(_: Known, values: Known) -> Numbers | None:
    start, limit, step = (_at(values, index) for index in range(3))
    if not (start and limit and step) or not step[0]:
        return None
    return ((limit[0] - start[0]) / step[0],)


def _one_hot(shapes: Known, values: Known) -> Numbers | None:
    depth = _at(values, 1)
    return (*(_at(shapes, 0) or ()), *depth) if depth else None


def _scaled(sides: Numbers | None, times: Numbers) -> Numbers:
    known = sides if sides is not None and len(sides) == len(times) else (1.0,) * len(times)
    return tuple(side * factor for side, factor in zip(known, times, strict=True))


def _broadcast(shapes: Known) -> Numbers:
    """Broadcast shape; the shapes are aligned at their last sides."""
    reversed_ = [tuple(reversed(shape)) for shape in shapes if shape is not None]
    return tuple(reversed([max(sides) for sides in zip_longest(*reversed_, fillvalue=1.0)]))


def _product(shapes: Known) -> Numbers:
    left, right = _at(shapes, 0) or (), _at(shapes, 1) or ()
    return (*left[:-1], *right[:-2], *right[-1:])


SIZED: Mapping[str, Callable[[Known, Known], Numbers | None]] = {
    "ConstantOfShape": _first_operand,
    "Expand": _expand,
    "Tile": _tile,
    "Resize": _resize,
    "Upsample": _resize,
    "Pad": _pad,
    "Range": _range,
    "OneHot": _one_hot,
    "RandomNormal": _first_operand,
    "RandomUniform": _first_operand,
    "HannWindow": _first_operand,
    "HammingWindow": _first_operand,
    "BlackmanWindow": _first_operand,
}
SIZED_BY_ATTRIBUTE = {
    "RandomNormal": ("shape",), "RandomUniform": ("shape",), "Pad": ("pads",), "Upsample": ("scales",)
}  # fmt: skip
BROADCASTING = frozenset(
    {"Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Mean", "Sum", "Where", "Equal", "Less", "Greater"}
)
PASSING = frozenset({"Identity", "Cast", "Squeeze", "Unsqueeze", "Reshape", "Flatten"})


class _ShortList:
    """List of at most `SIDES_LIMIT` numbers; a longer list counts as an infinite size."""

    def __init__(self) -> None:
        self._numbers: list[float] = []

    def add_integers(self, value: Value) -> None:
        """Add one integer, or a packed list of integers."""
        integers = [value] if isinstance(value, int) else packed(value)
        self._add(float(signed(number)) for number in integers)

    def add_raw(self, form: str, value: Value) -> None:
        """Add numbers that lie side by side, each in the `struct` format `form`."""
        if isinstance(value, int) or len(value) % struct.calcsize(form):
            raise WireError("a list of numbers is cut off")
        self._add(float(number) for (number,) in struct.iter_unpack(f"<{form}", value))

    def read(self) -> Numbers:
        """All numbers, or infinity if there are more than `SIDES_LIMIT`."""
        return (math.inf,) if len(self._numbers) > SIDES_LIMIT else tuple(self._numbers)

    def _add(self, numbers: Iterator[float]) -> None:
        self._numbers += islice(numbers, SIDES_LIMIT + 1 - len(self._numbers))


def _numbers(tensor: memoryview) -> Numbers:
    """Values of a small tensor; empty if the tensor has a type that cannot set a size."""
    kinds = [value for number, _, value in fields(tensor) if number == DATA_TYPE]
    form = RAW_FORMATS.get(kinds[-1] if kinds and isinstance(kinds[-1], int) else 0)
    numbers = _ShortList()
    for number, _, value in fields(tensor):
        if number in (INT32_DATA, INT64_DATA):
            numbers.add_integers(value)
        elif number in (FLOAT_DATA, DOUBLE_DATA):
            numbers.add_raw("f" if number == FLOAT_DATA else "d", value)
        elif number == RAW_DATA and form:
            numbers.add_raw(form, value)
    return numbers.read()


def _integers(message: memoryview, field: int) -> Iterator[int]:
    for number, _, value in fields(message):
        if number == field:
            yield from [value] if isinstance(value, int) else packed(value)


def _elements(shape: Numbers) -> float:
    return math.prod(max(side, 1.0) for side in shape)


def _text(value: Value | bytes) -> str:
    if isinstance(value, int):
        raise WireError("a number where a text belongs")
    return bytes(value).decode("utf-8", errors="replace")
