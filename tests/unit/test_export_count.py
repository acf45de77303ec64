"""Every formula of the counter, against numbers worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_dynamic, quantize_static

from fixtures.onnxgraphs import Shape, model_of
from kdtool.cli import main
from kdtool.core.errors import ModelFileError
from kdtool.core.quiet import quietly
from kdtool.exporters.compute.count import FORMULAS, Count, count_onnx
from kdtool.exporters.compute.layertable import layer_json, layer_lines


def one(
    op: str, inputs: dict[str, Shape], weights: dict[str, Shape], opset: int = 18, **attributes: Any
) -> int:
    node = helper.make_node(op, [*inputs, *weights], ["y"], name="node", **attributes)
    count = count_onnx(model_of([node], inputs, weights, opset))
    assert [layer.op for layer in count.layers] == [op]
    assert count.flops == 2 * count.macs
    return count.macs


X: dict[str, Shape] = {"x": ("batch", 4, 8, 8)}
CASES = {
    "convolution": (lambda: one("Conv", X, {"w": (6, 4, 3, 3), "b": (6,)}), 6 * 6 * 6 * 4 * 9),
    "strided, padded": (
        lambda: one("Conv", X, {"w": (6, 4, 3, 3)}, strides=[2, 2], pads=[1, 1, 1, 1]),
        6 * 4 * 4 * 4 * 9,
    ),
    "depthwise": (lambda: one("Conv", X, {"w": (4, 1, 3, 3)}, group=4, pads=[1, 1, 1, 1]), 4 * 8 * 8 * 9),
    "grouped": (lambda: one("Conv", X, {"w": (6, 2, 1, 1)}, group=2), 6 * 8 * 8 * 2),
    "transposed convolution": (
        lambda: one("ConvTranspose", X, {"w": (4, 5, 2, 2)}, strides=[2, 2]),
        4 * 8 * 8 * 5 * 4,
    ),
    "linear": (lambda: one("Gemm", {"x": ("batch", 7)}, {"w": (3, 7), "b": (3,)}, transB=1), 7 * 3),
    "linear, transposed input": (lambda: one("Gemm", {"x": (7, 1)}, {"w": (7, 3)}, transA=1), 7 * 3),
    "product with a weight": (lambda: one("MatMul", {"x": ("batch", 5, 7)}, {"w": (7, 3)}), 5 * 7 * 3),
    "product of activations": (
        lambda: one("MatMul", {"q": ("batch", 2, 5, 7), "k": ("batch", 2, 7, 6)}, {}),
        2 * 5 * 7 * 6,
    ),
    "attention": (
        lambda: one(
            "Attention",
            {"q": ("batch", 2, 5, 8), "k": ("batch", 2, 6, 8), "v": ("batch", 2, 6, 4)},
            {},
            opset=23,
        ),
        2 * 5 * 6 * 8 + 2 * 5 * 6 * 4,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_formula(case: str) -> None:
    count, expected = CASES[case]
    assert count() == expected


def test_every_formula_has_a_case() -> None:
    floats = {("", name) for name in ("Conv", "ConvTranspose", "Gemm", "MatMul", "Attention")}
    assert set(FORMULAS) == floats | {key for key, _, _ in INTEGER_CASES.values()}


STEPS = dict.fromkeys(("xs", "ws", "ys"), TensorProto.FLOAT)
STEPS |= dict.fromkeys(("xz", "wz", "yz"), TensorProto.UINT8)
WEIGHTED = ["x", "xs", "xz", "w", "ws", "wz"]
INTEGER_CASES: dict[str, tuple[tuple[str, str], Callable[[], Count], tuple[int, int]]] = {
    "convolution": (
        ("", "QLinearConv"),
        lambda: integer("QLinearConv", [*WEIGHTED, "ys", "yz", "b"], X["x"], (6, 2, 3, 3), group=2),
        (6 * 6 * 6 * 2 * 9, 6 * 2 * 9 + 6),
    ),
    "product": (
        ("", "QLinearMatMul"),
        lambda: integer("QLinearMatMul", [*WEIGHTED, "ys", "yz"], ("batch", 5, 7), (7, 6)),
        (5 * 7 * 6, 7 * 6),
    ),
    "linear": (
        ("com.microsoft", "QGemm"),
        lambda: integer("QGemm", [*WEIGHTED, "b", "ys", "yz"], ("batch", 7), (6, 7), transB=1),
        (7 * 6, 7 * 6 + 6),
    ),
    "linear, transposed input": (
        ("com.microsoft", "QGemm"),
        lambda: integer("QGemm", [*WEIGHTED, "", "ys", "yz"], (7, 1), (7, 6), transA=1),
        (7 * 6, 7 * 6),
    ),
    "convolution into 32 bits": (
        ("", "ConvInteger"),
        lambda: integer("ConvInteger", ["x", "w", "xz", "wz"], X["x"], (6, 4, 3, 3)),
        (6 * 6 * 6 * 4 * 9, 6 * 4 * 9),
    ),
    "product into 32 bits": (
        ("", "MatMulInteger"),
        lambda: integer("MatMulInteger", ["x", "w", "xz", "wz"], ("batch", 7), (7, 6)),
        (7 * 6, 7 * 6),
    ),
}


def integer(op: str, names: list[str], x: Shape, w: Shape, **attributes: Any) -> Count:
    """One integer operator on `x`, with the weight `w`, a bias of 6, and scales and zero points."""
    domain = next(domain for (domain, name), _, _ in INTEGER_CASES.values() if name == op)
    dtypes = {"w": TensorProto.UINT8, "b": TensorProto.INT32} | STEPS
    shapes = {"w": w, "b": (6,)}
    stored = [
        numpy_helper.from_array(
            np.ones(shapes.get(name, ()), helper.tensor_dtype_to_np_dtype(dtypes[name])), name
        )
        for name in names
        if name in dtypes
    ]
    result = TensorProto.INT32 if op.endswith("Integer") else TensorProto.UINT8
    graph = helper.make_graph(
        [helper.make_node(op, names, ["y"], domain=domain, **attributes)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, x)],
        [helper.make_tensor_value_info("y", result, None)],
        stored,
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    return count_onnx(helper.make_model(graph, opset_imports=opsets, ir_version=8))


@pytest.mark.parametrize("case", INTEGER_CASES)
def test_integer_operators_count_as_the_float_ones_do(case: str) -> None:
    _, count, expected = INTEGER_CASES[case]
    found = count()
    assert (found.macs, found.params) == expected
    assert (found.uncounted, found.other_params) == ((), 0)
    assert not found.layers[0].dynamic


class OneBatch(CalibrationDataReader):
    """Noise, once."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        noise = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        self._batches = iter([{"x": noise}])

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._batches, None)


def small_classifier() -> onnx.ModelProto:
    """Convolutions with a skip connection, pooling, and a linear layer."""
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["a"], name="stem", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["r"], name="relu"),
        helper.make_node("Conv", ["r", "w2", "b2"], ["c"], name="inner", pads=[1, 1, 1, 1], group=2),
        helper.make_node("Add", ["r", "c"], ["s"], name="skip"),
        helper.make_node("Concat", ["r", "s"], ["t"], name="both", axis=1),
        helper.make_node("GlobalAveragePool", ["t"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["f"], name="flat"),
        helper.make_node("Gemm", ["f", "w3", "b3"], ["y"], name="head", transB=1),
    ]
    weights: dict[str, Shape] = {
        "w1": (6, 4, 3, 3), "b1": (6,), "w2": (6, 3, 3, 3), "b2": (6,), "w3": (5, 12), "b3": (5,),
    }  # fmt: skip
    model = model_of(nodes, X, weights)
    model.ir_version = 8
    rng = np.random.default_rng(1)
    for tensor in model.graph.initializer:
        values = rng.normal(size=tuple(tensor.dims)).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return model


@pytest.mark.parametrize("form", ["QOperator", "QDQ", "dynamic"])
def test_a_quantized_file_counts_as_its_float_model_does(form: str, tmp_path: Path) -> None:
    source, target = tmp_path / "float.onnx", tmp_path / "int8.onnx"
    onnx.save(small_classifier(), source)
    with quietly():
        if form == "dynamic":
            quantize_dynamic(source, target)
        else:
            reader = OneBatch((1, 4, 8, 8))
            quantize_static(source, target, reader, quant_format=QuantFormat[form], per_channel=True)
    before, after = count_onnx(source), count_onnx(target)

    assert before.macs == 6 * 64 * 36 + 6 * 64 * 27 + 12 * 5
    assert (after.macs, after.params) == (before.macs, before.params)
    assert after.uncounted == ()
    products = [name for _, name in FORMULAS]
    assert [layer.op for layer in after.layers] == [
        n.op_type for n in onnx.load(target).graph.node if n.op_type in products
    ]


def test_what_is_not_counted_is_never_a_plain_figure() -> None:
    einsum = helper.make_node("Einsum", ["x", "w"], ["a"], equation="bi,ij->bj")
    alone = count_onnx(model_of([einsum], {"x": ("batch", 3)}, {"w": (3, 2)}))
    product = helper.make_node("MatMul", ["a", "v"], ["y"], name="head")
    partly = count_onnx(model_of([einsum, product], {"x": ("batch", 3)}, {"w": (3, 2), "v": (2, 4)}))

    assert layer_lines("m", alone)[0] == "m: MACs unknown, at least 6 parameters, one image"
    assert layer_lines("m", partly)[0] == "m: at least 8 MACs (16 FLOPs), at least 14 parameters, one image"
    shown = layer_json("m", partly)
    assert (shown["macs"], shown["flops"], shown["macs_at_least"]) == (None, None, 8)
    assert (partly.exact_macs, partly.macs) == (None, 8)


def test_only_products_of_two_activations_are_attention() -> None:
    nodes = [
        helper.make_node("Transpose", ["w"], ["wt"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "wt"], ["a"]),
        helper.make_node("MatMul", ["a", "x"], ["y"]),
    ]
    count = count_onnx(model_of(nodes, {"x": ("batch", 5, 5)}, {"w": (5, 5)}))

    assert [layer.dynamic for layer in count.layers] == [False, True]
    assert [(layer.params, layer.output) for layer in count.layers] == [(25, (1, 5, 5)), (0, (1, 5, 5))]
    assert count.macs == 250
    assert count.attention_macs == 125
    assert count.params == 25


def test_an_operator_without_a_formula_is_named() -> None:
    node = helper.make_node("Einsum", ["x", "w"], ["y"], equation="bi,ij->bj")
    assert count_onnx(model_of([node], {"x": ("batch", 3)}, {"w": (3, 2)})).uncounted == ("Einsum",)


def test_a_fused_operator_of_another_domain_is_not_billed_at_zero_in_silence() -> None:
    node = helper.make_node("FusedConv", ["x", "w"], ["y"], domain="com.microsoft", activation="Relu")
    model = model_of([node], X, {"w": (6, 4, 3, 3)})
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    model.ir_version = 10

    assert count_onnx(model).uncounted == ("com.microsoft.FusedConv",)


@pytest.mark.parametrize(("domain", "name"), [("mine", "Layer"), ("mine", "Conv")])
def test_a_function_of_the_file_is_named(domain: str, name: str) -> None:
    model = model_of([helper.make_node(name, ["x", "w"], ["y"], domain=domain)], X, {"w": (6, 4, 3, 3)})
    inner = helper.make_node("Conv", ["a", "b"], ["c"])
    opset = helper.make_opsetid("", 18)
    model.functions.append(helper.make_function(domain, name, ["a", "b"], ["c"], [inner], [opset]))
    model.opset_import.append(helper.make_opsetid(domain, 1))
    model.ir_version = 10

    count = count_onnx(model)

    assert (count.macs, count.uncounted) == (0, (f"{domain}.{name}",))


def test_a_branch_is_named() -> None:
    def branch(name: str) -> onnx.GraphProto:
        result = helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 6, 6, 6))
        return helper.make_graph([helper.make_node("Conv", ["x", "w"], [name])], name, [], [result])

    nodes = [
        helper.make_node("Constant", [], ["yes"], value=numpy_helper.from_array(np.array(True))),
        helper.make_node("If", ["yes"], ["y"], then_branch=branch("t"), else_branch=branch("e")),
    ]
    model = model_of(nodes, X, {"w": (6, 4, 3, 3)})

    assert count_onnx(model).uncounted == ("If",)


def test_quantized_weights_are_parameters_and_their_scales_are_not() -> None:
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["w"], axis=0),
        helper.make_node("Conv", ["x", "w"], ["y"], name="conv"),
    ]
    model = model_of(nodes, X, {"scale": (6,)})
    model.graph.initializer.extend(
        [
            numpy_helper.from_array(np.zeros((6, 4, 3, 3), np.int8), "q"),
            numpy_helper.from_array(np.zeros(6, np.int8), "zero"),
        ]
    )

    count = count_onnx(model)

    assert (count.params, count.other_params, count.uncounted) == (6 * 4 * 9, 0, ())


def test_what_is_shared_or_in_a_constant_node_is_one_parameter() -> None:
    weight = numpy_helper.from_array(np.zeros((5, 5), np.float32))
    nodes = [
        helper.make_node("Constant", [], ["w"], value=weight),
        helper.make_node("MatMul", ["x", "w"], ["a"], name="first"),
        helper.make_node("MatMul", ["a", "w"], ["y"], name="second"),
    ]

    count = count_onnx(model_of(nodes, {"x": ("batch", 5)}, {}))

    assert [layer.params for layer in count.layers] == [25, 0]
    assert (count.params, count.other_params) == (25, 0)


def without_output() -> onnx.ModelProto:
    model = model_of([helper.make_node("Conv", ["x", "w"], ["y"])], X, {"w": (6, 4, 3, 3)})
    del model.graph.node[0].output[:]
    return model


def without_input() -> onnx.ModelProto:
    return model_of([helper.make_node("Conv", [], ["y"])], X, {})


def without_weight() -> onnx.ModelProto:
    return model_of([helper.make_node("Conv", ["x", "nowhere"], ["y"])], X, {})


def contradicting() -> onnx.ModelProto:
    return model_of([helper.make_node("Conv", ["x", "w"], ["y"], strides=[0, 0])], X, {"w": (6, 4, 3, 3)})


@pytest.mark.parametrize("broken", [without_output, without_input, without_weight, contradicting])
def test_a_broken_graph_is_an_error_of_the_file(broken: Callable[[], onnx.ModelProto]) -> None:
    with pytest.raises(ModelFileError):
        count_onnx(broken())


def test_a_free_side_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="stem")
    path = tmp_path / "free.onnx"
    onnx.save(model_of([node], {"x": ("batch", 3, "height", 8)}, {"w": (2, 3, 3, 3)}), path)

    with pytest.raises(
        ModelFileError, match=r"free\.onnx: its input 'x' is 1 × 3 × height × 8; only the batch"
    ):
        count_onnx(path)


def reshaped_by_data(shape: Shape) -> onnx.ModelProto:
    """x → reshaped to a shape computed from x → product with a weight: inference cannot know."""
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["s"], keepdims=0),
        helper.make_node("Cast", ["s"], ["zero"], to=TensorProto.INT64),
        helper.make_node("Add", ["target", "zero"], ["shape"]),
        helper.make_node("Reshape", ["x", "shape"], ["r"]),
        helper.make_node("MatMul", ["r", "w"], ["y"]),
    ]
    model = model_of(nodes, {"x": ("batch", 4, 6)}, {"w": (3, 5)})
    model.ir_version = 8
    model.graph.initializer.append(numpy_helper.from_array(np.array(shape, np.int64), "target"))
    return model


def test_shapes_that_cannot_be_inferred_are_seen_in_a_run() -> None:
    assert count_onnx(reshaped_by_data((8, 3))).macs == 8 * 3 * 5


def test_a_model_that_does_not_run_is_an_error() -> None:
    with pytest.raises(ModelFileError, match="cannot be counted, because it does not run"):
        count_onnx(reshaped_by_data((7, 7)))


def test_the_model_is_left_as_it_is() -> None:
    model = model_of([helper.make_node("Conv", ["x", "w"], ["y"])], X, {"w": (6, 4, 3, 3)})
    before = model.SerializeToString()
    count_onnx(model)
    assert model.SerializeToString() == before


def test_layers_and_the_rest_add_up_to_all_parameters() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], name="conv"),
        helper.make_node("Mul", ["c", "scale"], ["y"], name="scaled"),
    ]
    count = count_onnx(model_of(nodes, X, {"w": (6, 4, 3, 3), "b": (6,), "scale": (6, 1, 1)}))

    assert [layer.params for layer in count.layers] == [6 * 4 * 9 + 6]
    assert (count.params, count.other_params) == (6 * 4 * 9 + 6 + 6, 6)
    lines = layer_lines("m.onnx", count)
    assert lines[0] == "m.onnx: 7,776 MACs (15,552 FLOPs), 228 parameters, one image"
    assert lines[2].split() == ["conv", "Conv", "7,776", "100.0%", "222", "1", "×", "6", "×", "6", "×", "6"]
    assert lines[3].split() == ["(others)", "6"]
    assert layer_json("m.onnx", count)["layers"][0]["output"] == [1, 6, 6, 6]


def test_the_command_prints_the_layers_and_refuses_what_is_hostile(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, bad = tmp_path / "m.onnx", tmp_path / "bad.onnx"
    model = model_of([helper.make_node("Conv", ["x", "w"], ["y"], name="stem")], X, {"w": (6, 4, 3, 3)})
    onnx.save(model, path)
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    bad.write_bytes(model.SerializeToString())

    for arguments, code in (
        (["bench", "--per-layer", str(path)], 0),
        (["bench", "--per-layer", str(bad)], 4),
        (["bench", "--per-layer", "--runs", "64", "--check", str(path)], 2),
    ):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == code
    shown = capsys.readouterr()
    assert "7,776 MACs" in shown.out
    assert "stem" in shown.out
    assert "external data" in shown.err
    assert "--check, --runs: no effect together with --per-layer" in shown.err
