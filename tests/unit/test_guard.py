"""Hostile and broken model files are refused before a runtime sees them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import AttributeProto, FunctionProto, ModelProto, TensorProto, helper, numpy_helper

from kdtool.core.errors import ModelFileError
from kdtool.runtime.onnxbytes import constants, guard
from kdtool.runtime.onnxbytes.guard import check_model, read_model


def tiny(node: object = None, *, domain: str = "", shape: tuple = ("N", 3, 4, 4)) -> ModelProto:
    """ReduceMean over the pixels and a linear head; `node` is added to the graph."""
    weight = numpy_helper.from_array(np.ones((3, 2), np.float32), "weight")
    nodes = [
        helper.make_node("GlobalAveragePool", ["images"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weight"], ["logits"]),
    ]
    graph = helper.make_graph(
        [*nodes, *([node] if node else [])],
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ("N", 2))],
        [weight],
    )
    opsets = [helper.make_opsetid("", 18), *([helper.make_opsetid(domain, 1)] if domain else [])]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


GOOD = tiny().SerializeToString()


def external(tensor: TensorProto, *, field: bool = True, location: bool = True) -> TensorProto:
    if location:
        tensor.data_location = TensorProto.EXTERNAL
    if field:
        tensor.external_data.add(key="location", value="../../etc/passwd")
    return tensor


def tensor(dims: tuple[int, ...] = (1,), raw: bytes = b"\0\0\0\0") -> TensorProto:
    return TensorProto(name="t", data_type=TensorProto.FLOAT, dims=dims, raw_data=raw)


def constant(value: TensorProto) -> object:
    return helper.make_node("Constant", [], ["c"], value=value)


def in_subgraph(value: TensorProto) -> object:
    branch = helper.make_graph([constant(value)], "branch", [], [])
    return helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)


def in_function(value: TensorProto) -> ModelProto:
    model = tiny(domain="mine")
    model.functions.append(
        FunctionProto(
            name="f", domain="mine", opset_import=[helper.make_opsetid("", 18)], node=[constant(value)]
        )
    )
    return model


def in_list(value: TensorProto) -> object:
    node = helper.make_node("Constant", [], ["c"])
    node.attribute.append(AttributeProto(name="ts", type=AttributeProto.TENSORS, tensors=[value]))
    return node


def in_initializer(value: TensorProto) -> ModelProto:
    model = tiny()
    model.graph.initializer.append(value)
    return model


def in_sparse(value: TensorProto) -> ModelProto:
    model = tiny()
    model.graph.sparse_initializer.add(values=value, indices=tensor(), dims=[4])
    return model


PLACES = {
    "initializer": in_initializer,
    "sparse initializer": in_sparse,
    "node attribute": lambda value: tiny(constant(value)),
    "list of tensors": lambda value: tiny(in_list(value)),
    "subgraph": lambda value: tiny(in_subgraph(value)),
    "function": in_function,
}


def refused(content: bytes, match: str) -> None:
    with pytest.raises(ModelFileError, match=match) as caught:
        check_model(content, "m.onnx")
    assert caught.value.exit_code == 4
    assert caught.value.message.startswith("m.onnx: ")
    assert caught.value.hint


def test_good_models_pass() -> None:
    check_model(GOOD, "m.onnx")
    for place in PLACES.values():
        check_model(place(tensor()).SerializeToString(), "m.onnx")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("parts", [{}, {"field": False}, {"location": False}])
def test_external_data_is_refused_wherever_it_hides(place: str, parts: dict) -> None:
    model = PLACES[place](external(tensor(), **parts))
    refused(model.SerializeToString(), "external data")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("dims", [(1 << 40,), (1 << 20, 1 << 20), (-1,), (3, -5)])
def test_tensors_larger_than_their_content_are_refused(place: str, dims: tuple[int, ...]) -> None:
    refused(PLACES[place](tensor(dims)).SerializeToString(), "claims the shape")


@pytest.mark.parametrize("shape", [("N", 3, 1 << 20, 1 << 20), (1, 3, 1 << 62, 4), (1, 3, -7, 4)])
def test_absurd_declared_shapes_are_refused(shape: tuple) -> None:
    refused(tiny(shape=shape).SerializeToString(), "declared with the shape")


def numbers(name: str, *values: float, kind: type = np.int64) -> TensorProto:
    return numpy_helper.from_array(np.array(values, kind), name)


def grown(nodes: list[object], *constants: TensorProto) -> bytes:
    model = tiny()
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(constants)
    return bytes(model.SerializeToString())


def node(op: str, *inputs: str, result: str = "grown", **attributes: object) -> object:
    return helper.make_node(op, inputs, [result], **attributes)


MANY, SIDE = 100_000_000, 10_000
GROWN = {
    "ConstantOfShape": ([node("ConstantOfShape", "s")], numbers("s", MANY)),
    "a shape of two sides": ([node("ConstantOfShape", "s")], numbers("s", SIDE, SIDE)),
    "a shape passed on": (
        [node("Cast", "s", result="u"), node("Concat", "u", "u", result="c"), node("ConstantOfShape", "c")],
        numbers("s", SIDE),
    ),
    "a shape in a Constant": (
        [node("Constant", value_ints=[SIDE, SIDE], result="s"), node("ConstantOfShape", "s")],
    ),
    "a shape of too many sides": ([node("ConstantOfShape", "s")], numbers("s", *[2] * 65)),
    "a Constant of too many sides": (
        [node("Constant", value_ints=[1] * 64 + [MANY], result="s"), node("ConstantOfShape", "s")],
    ),
    "Expand": ([node("Expand", "images", "s")], numbers("s", MANY)),
    "Tile": ([node("Tile", "images", "s")], numbers("s", 1, 1, SIDE, SIDE)),
    "Tile of a large constant": (
        [node("ConstantOfShape", "s", result="c"), node("Tile", "c", "times")],
        numbers("s", SIDE),
        numbers("times", SIDE),
    ),
    "the sizes of Resize": ([node("Resize", "images", "", "", "s")], numbers("s", 1, 3, SIDE, SIDE)),
    "the scales of Resize": (
        [node("Resize", "images", "", "s")],
        numbers("s", 1, 1, SIDE, SIDE, kind=np.float32),
    ),
    "the scales of old Upsample": ([node("Upsample", "images", scales=[1.0, 1.0, 1e4, 1e4])],),
    "infinite scales": ([node("Upsample", "images", "s")], numbers("s", np.inf, kind=np.float32)),
    "scales that are no numbers": ([node("Upsample", "images", "s")], numbers("s", np.nan, kind=np.float32)),
    "Pad": ([node("Pad", "images", "s")], numbers("s", 0, 0, 5000, 5000, 0, 0, 5000, 5000)),
    "Range": (
        [node("Range", "from", "to", "by")],
        numbers("from", 0), numbers("to", MANY), numbers("by", 1),
    ),
    "OneHot": ([node("OneHot", "images", "s", "w")], numbers("s", MANY), numbers("w", 0, 1)),
    "RandomNormal": ([node("RandomNormal", shape=[SIDE, SIDE])],),
    "a sum of a column and a row": (
        [node("Add", "column", "row")],
        numpy_helper.from_array(np.zeros((SIDE, 1), np.int8), "column"),
        numpy_helper.from_array(np.zeros((1, SIDE), np.int8), "row"),
    ),
    "a product of a column and a row": (
        [node("MatMul", "column", "row")],
        numpy_helper.from_array(np.zeros((SIDE, 1), np.int8), "column"),
        numpy_helper.from_array(np.zeros((1, SIDE), np.int8), "row"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", GROWN)
def test_constants_that_grow_out_of_proportion_are_refused(case: str) -> None:
    nodes, *constants = GROWN[case]
    refused(grown(nodes, *constants), "makes a constant of shape")


def test_constants_of_usual_size_pass() -> None:
    nodes = [
        node("ConstantOfShape", "s", result="zeros"),
        node("Expand", "weight", "s"),
        node("Resize", "images", "", "", "s"),
        node("Pad", "images", "pads"),
        node("Reshape", "images", "any"),
        node("Range", "zero", "many", "zero"),
    ]
    constants = [
        numbers("s", 64, 512, 8, 2), numbers("pads", *[0, 0, 99, 99] * 2), numbers("any", 0, -1),
        numbers("zero", 0), numbers("many", MANY),
    ]  # fmt: skip
    check_model(grown(nodes, *constants), "m.onnx")


def test_what_a_file_holds_itself_may_be_larger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ELEMENTS_LIMIT", 5)
    check_model(grown([node("Mul", "weight", "weight")]), "m.onnx")
    refused(grown([node("ConstantOfShape", "s")], numbers("s", 6)), "shape 6")


@pytest.mark.parametrize("dims", [(MANY,), (SIDE, SIDE), (-1,)])
def test_sparse_tensors_that_are_enormous_when_dense_are_refused(dims: tuple[int, ...]) -> None:
    model = in_sparse(tensor())
    model.graph.sparse_initializer[0].dims[:] = dims
    refused(model.SerializeToString(), "a sparse tensor claims the shape")


def test_a_node_without_output_is_refused() -> None:
    refused(
        tiny(helper.make_node("Relu", ["images"], [])).SerializeToString(), "one of its nodes has no output"
    )


def test_numbers_that_are_cut_off_are_refused() -> None:
    floats = b"\x08\x01\x10\x01\x22\x03abc"  # dims 1, of type float, and three bytes of them
    initializer = b"\x2a" + bytes([len(floats)]) + floats
    refused(GOOD + b"\x3a" + bytes([len(initializer)]) + initializer, "the values of a tensor are cut off")


def ways() -> dict[str, list[int]]:
    """Kind of message → the numbers of the fields that lead to it from a model."""
    found: dict[str, list[int]] = {"model": []}
    for kind in (waiting := ["model"]):
        for number, inner in guard.NESTED.get(kind, {}).items():
            if inner not in found:
                found[inner] = [*found[kind], number]
                waiting.append(inner)
    return found


NEVER_ANSWERED = {"configuration", "device_configurations", "segment", "external_data"}


def test_the_tables_are_those_of_the_format() -> None:
    """As onnx itself has it; of what is left out, nothing gets into an answer or a message of a runtime."""
    for kind, way in ways().items():
        message = ModelProto.DESCRIPTOR
        for number in way:
            message = message.fields_by_number[number].message_type
        assert guard.TEXTS.get(kind, set()) == {f.number for f in message.fields if f.type == f.TYPE_STRING}
        left = {
            f.name for f in message.fields if f.message_type and f.number not in guard.NESTED.get(kind, {})
        }
        assert left <= NEVER_ANSWERED, kind


@pytest.mark.parametrize(("kind", "number"), [(k, n) for k, texts in guard.TEXTS.items() for n in texts])
def test_texts_that_are_not_utf8_are_refused(kind: str, number: int) -> None:
    content = b"fine\xff"
    for field in reversed([*ways()[kind], number]):
        tag = field << 3 | 2
        content = (
            (bytes([tag]) if tag < 128 else bytes([tag & 127 | 128, tag >> 7]))
            + bytes([len(content)])
            + content
        )
    refused(GOOD + content, "one of its names or other texts is not UTF-8")


def test_texts_beyond_ascii_pass() -> None:
    model = tiny(helper.make_node("Relu", ["images"], ["größe"], name="层"))
    helper.set_model_props(model, {"名": "naïve"})
    check_model(model.SerializeToString(), "m.onnx")


def test_values_of_a_string_tensor_may_be_any_bytes() -> None:
    value = TensorProto(name="t", data_type=TensorProto.STRING, dims=[1], string_data=[b"\xff"])
    check_model(in_initializer(value).SerializeToString(), "m.onnx")


def test_onnxruntimes_own_format_is_named_also_where_onnx_is_written_around_its_mark() -> None:
    model = tiny()
    model.producer_name = "ORTM"
    around = model.SerializeToString()
    assert around[4:8] == guard.ORT_MARK
    for content in (b"\x18\0\0\0ORTM" + bytes(64), around):
        refused(content, r"this file has ONNX Runtime's own format \(.ort\), it is not ONNX")


@pytest.mark.parametrize("domain", ["evil.corp", "com.microsoft.evil", "ai.onnx "])
def test_unknown_domains_are_refused(domain: str) -> None:
    refused(tiny(domain=domain).SerializeToString(), "needs operators of")
    node = helper.make_node("Evil", ["images"], ["x"], domain=domain)
    refused(tiny(node).SerializeToString(), "needs operators of")


@pytest.mark.parametrize("domain", sorted(guard.DOMAINS))
def test_known_domains_pass(domain: str) -> None:
    check_model(tiny(domain=domain).SerializeToString(), "m.onnx")


def test_endless_nesting_is_refused() -> None:
    node = constant(tensor())
    for _ in range(guard.DEPTH_LIMIT):
        branch = helper.make_graph([node], "branch", [], [])
        node = helper.make_node("If", ["x"], ["y"], then_branch=branch)
    refused(tiny(node).SerializeToString(), "nested more than")


@pytest.mark.parametrize("length", range(len(GOOD)))
def test_every_truncation_is_refused_or_still_a_model(length: int) -> None:
    """A cut between two top-level fields leaves a message; one inside a field never passes."""
    try:
        check_model(GOOD[:length], "m.onnx")
    except ModelFileError:
        return
    assert ModelProto.FromString(GOOD[:length]).HasField("graph")


@given(st.binary(max_size=300))
def test_random_bytes_never_crash_the_guard(content: bytes) -> None:
    try:
        check_model(content, "m.onnx")
    except ModelFileError:
        return
    assert ModelProto.FromString(content).HasField("graph")


@given(st.integers(0, len(GOOD) - 1), st.binary(min_size=1, max_size=12))
def test_overwritten_bytes_never_crash_the_guard(position: int, noise: bytes) -> None:
    try:
        check_model(GOOD[:position] + noise + GOOD[position + len(noise) :], "m.onnx")
    except ModelFileError as error:
        assert error.exit_code == 4


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "it is empty"),
        (b"\x08\x0a", "it holds no graph"),
        (b"\x3a\x05ab", "cut off"),
        (b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "an integer of more than 64 bits"),
        (b"\x3b", "wire type 3"),
        (b"\x00\x00", "field number 0"),
        (b"\x08", "cut off"),
        (b"\x3a\x02\x08\x01", "a number where a message belongs"),
    ],
)
def test_what_is_no_model_is_refused(content: bytes, cause: str) -> None:
    refused(content, f"not an intact ONNX file \\({cause}")


def test_paths_that_are_no_file(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="a folder, not an ONNX file"):
        read_model(tmp_path)
    with pytest.raises(ModelFileError, match="no such file"):
        read_model(tmp_path / "absent.onnx")


def test_oversized_and_unreadable_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(GOOD)
    assert read_model(path) == GOOD
    monkeypatch.setattr(guard, "SIZE_LIMIT", 10)
    with pytest.raises(ModelFileError, match="over the limit"):
        read_model(path)
    monkeypatch.undo()

    def denied(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", denied)
    with pytest.raises(ModelFileError, match=r"cannot be read \(Permission denied\)"):
        read_model(path)
