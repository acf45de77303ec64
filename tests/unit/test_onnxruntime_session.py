"""Sessions of ONNX Runtime: options, shapes, and failures in words."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from kdtool.core.errors import ModelFileError, SetupError, UsageError
from kdtool.core.modelinfo import METADATA_KEY, ModelInfo
from kdtool.core.preprocess import Preprocess
from kdtool.runtime import RUNTIMES, load_runtime
from kdtool.runtime.classify import logits_of
from kdtool.runtime.onnxruntime import new_session, open_model, session_options
from kdtool.runtime.session import input_size
from kdtool.runtime.signature import InputFormat, layout_of

INFO = ModelInfo("student", "tiny", ("cat", "dog"), Preprocess(4, 4), params=6, macs=6)
SHAPE = ("N", 3, 4, 4)


def model(
    shape: tuple = SHAPE,
    *,
    dtype: int = TensorProto.FLOAT,
    outputs: tuple[str, ...] = ("logits",),
    metadata: dict[str, str] | None = None,
) -> ModelProto:
    channels = shape[1] if isinstance(shape[1], int) else 3
    weight = numpy_helper.from_array(np.eye(channels, 2, dtype=np.float32), "weight")
    nodes = [helper.make_node("Cast", ["images"], ["float"], to=TensorProto.FLOAT)]
    nodes += [helper.make_node("GlobalAveragePool", ["float"], ["pooled"])]
    nodes += [helper.make_node("Flatten", ["pooled"], ["flat"])]
    nodes += [helper.make_node("MatMul", ["flat", "weight"], [name]) for name in outputs]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", dtype, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [weight],
    )
    result = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(result, INFO.to_metadata() if metadata is None else metadata)
    return result


def saved(folder: Path, content: ModelProto) -> Path:
    path = folder / "m.onnx"
    path.write_bytes(content.SerializeToString())
    return path


def test_logits_are_those_of_the_graph(tmp_path: Path) -> None:
    session = open_model(saved(tmp_path, model()), threads=1)
    images = np.random.default_rng(0).normal(size=(5, 3, 4, 4)).astype(np.float32)
    assert session.run(images) == pytest.approx(images.mean((2, 3))[:, :2], abs=1e-6)
    assert (session.info, session.input_shape, session.threads) == (INFO, (None, 3, 4, 4), 1)
    assert input_size(session) == 4


def test_a_batch_fixed_at_one_takes_any_number(tmp_path: Path) -> None:
    session = open_model(saved(tmp_path, model((1, 3, 4, 4))), threads=1)
    images = np.arange(7 * 48, dtype=np.float32).reshape(7, 3, 4, 4)
    assert session.run(images) == pytest.approx(images.mean((2, 3))[:, :2])


def test_a_foreign_file_has_no_info(tmp_path: Path) -> None:
    session = open_model(saved(tmp_path, model(("N", 3, "H", "W"), metadata={})), threads=1)
    assert session.info is None
    assert session.input_shape == (None, 3, None, None)
    assert input_size(session) == 0


def test_the_size_of_a_free_input_is_that_of_the_preprocessing(tmp_path: Path) -> None:
    assert input_size(open_model(saved(tmp_path, model(("N", 3, "H", "W"))))) == 4


def test_broken_metadata_is_a_model_error(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="metadata cannot be read"):
        open_model(saved(tmp_path, model(metadata={METADATA_KEY: "{"})))


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (model(("N", 3, 4)), "its inputs are"),
        (model(dtype=TensorProto.INT32), r"its inputs are images tensor\(int32\) \(\?, 3, 4, 4\)"),
        (
            model(("N", 1, 4, 4)),
            r"allowed is one input, float32 or uint8, of shape \(N, 3, H, W\) or \(N, H, W, 3\)",
        ),
        (model((8, 3, 4, 4)), "N is free or 1"),
        (model(outputs=("a", "b")), r"its outputs are a float32 \(\?, 2\), b float32 \(\?, 2\)"),
    ],
)
def test_what_is_no_classifier_of_pictures_is_refused(
    tmp_path: Path, content: ModelProto, match: str
) -> None:
    with pytest.raises(ModelFileError, match=match):
        open_model(saved(tmp_path, content))


def test_logits_are_chosen_among_outputs(tmp_path: Path) -> None:
    assert (
        open_model(saved(tmp_path, model(outputs=("features", "logits"))))
        .run(np.ones((1, 3, 4, 4), "f"))
        .size
        == 2
    )


def test_a_graph_onnxruntime_refuses_is_a_model_error(tmp_path: Path) -> None:
    content = model()
    content.graph.node[1].op_type = "NoSuchOperator"
    with pytest.raises(ModelFileError, match=r"cannot load it .*NoSuchOperator"):
        open_model(saved(tmp_path, content))


def test_nothing_is_printed_where_onnxruntime_cannot_load(capfd: pytest.CaptureFixture[str]) -> None:
    """Such a file the guard refuses; it is what makes onnxruntime tell of falling back."""
    content = model().SerializeToString().replace(b"Flatten", b"Fl\xfftten")
    with pytest.raises(UnicodeDecodeError):
        new_session(content, session_options(1))
    assert capfd.readouterr().out == ""


def test_images_of_another_size_are_a_model_error(tmp_path: Path) -> None:
    session = open_model(saved(tmp_path, model()))
    with pytest.raises(ModelFileError, match=r"fails on images of shape \(1, 3, 5, 5\)"):
        session.run(np.ones((1, 3, 5, 5), np.float32))


def test_a_failure_while_running_is_told_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """ONNX Runtime writes what it raises to standard error as well, in colours, past Python's streams."""
    content = model(("N", 3, "H", "W"))
    content.graph.initializer.append(numpy_helper.from_array(np.array([-1, 48]), "shape"))
    content.graph.node[1].CopyFrom(helper.make_node("Reshape", ["float", "shape"], ["pooled"]))
    content.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.ones((48, 2), np.float32), "weight"))
    session = open_model(saved(tmp_path, content))
    assert session.run(np.ones((2, 3, 4, 4), np.float32)).shape == (2, 2)
    with pytest.raises(ModelFileError, match=r"fails on images of shape \(1, 3, 5, 5\)"):
        session.run(np.ones((1, 3, 5, 5), np.float32))
    assert capfd.readouterr().err == ""


def test_answers_that_are_no_rows_of_logits_are_a_model_error(tmp_path: Path) -> None:
    content = model(outputs=("flat2",))
    content.graph.node[-1].CopyFrom(helper.make_node("Identity", ["float"], ["flat2"]))
    with pytest.raises(ModelFileError, match=r"gave float32 of shape \(2, 3, 4, 4\)"):
        open_model(saved(tmp_path, content)).run(np.ones((2, 3, 4, 4), np.float32))


def test_a_map_of_one_pixel_is_a_row_of_logits(tmp_path: Path) -> None:
    content = model(outputs=("flat2",))
    content.graph.node[-1].CopyFrom(helper.make_node("Identity", ["pooled"], ["flat2"]))
    assert open_model(saved(tmp_path, content)).run(np.ones((2, 3, 4, 4), np.float32)).shape == (2, 3)


def test_one_answer_to_two_images_is_a_model_error(tmp_path: Path) -> None:
    content = model(outputs=("mean",))
    content.graph.initializer.append(numpy_helper.from_array(np.array([0]), "first"))
    content.graph.node[-1].CopyFrom(helper.make_node("ReduceMean", ["flat", "first"], ["mean"]))
    session = open_model(saved(tmp_path, content))
    assert session.run(np.ones((1, 3, 4, 4), np.float32)).shape == (1, 3)
    with pytest.raises(ModelFileError, match=r"gave float32 of shape \(1, 3\) for 2 image"):
        session.run(np.ones((2, 3, 4, 4), np.float32))


def test_a_closed_session_is_not_used(tmp_path: Path) -> None:
    session = open_model(saved(tmp_path, model()))
    session.close()
    with pytest.raises(RuntimeError, match="was closed"):
        session.run(np.ones((1, 3, 4, 4), np.float32))


def test_options_are_explicit() -> None:
    options = session_options(3)
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (3, 1)
    assert options.execution_mode == ort.ExecutionMode.ORT_SEQUENTIAL
    assert options.get_session_config_entry("session.force_spinning_stop") == "1"


def test_an_unknown_runtime_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="allowed: onnxruntime, openvino"):
        load_runtime("tflite")


def test_a_runtime_that_is_not_installed_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.delitem(sys.modules, "kdtool.runtime.openvino", raising=False)
    with pytest.raises(SetupError, match="'openvino', which is not installed") as error:
        load_runtime("openvino")
    assert error.value.hint == 'Install it: pip install "kdtool[openvino]"'


@pytest.mark.parametrize("name", RUNTIMES)
@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (model(("N", 3, 4)), "its inputs are"),
        (model(("N", 2, 4, 4)), "its inputs are"),
        (model(dtype=TensorProto.INT8), "its inputs are"),
        (
            model(outputs=("a", "b")),
            r"its outputs are a float32 .*, b float32 .*; allowed is a single output",
        ),
        (b"junk" * 50, "not an intact ONNX file"),
    ],
    ids=range(5),
)
def test_every_runtime_refuses_what_is_no_classifier(
    name: str, content: ModelProto | bytes, cause: str, tmp_path: Path
) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
    with pytest.raises(ModelFileError, match=cause):
        load_runtime(name).open_model(path)


def of_pixels(layout: str, dtype: int, outputs: tuple[str, ...] = ("logits",)) -> ModelProto:
    """The model, and before it what makes normalized float32 (N, 3, 4, 4) of its input."""
    result = model(outputs=outputs)
    graph, last = result.graph, "images"
    steps = []
    if dtype == TensorProto.UINT8:
        steps.append(helper.make_node("Cast", [last], ["cast"], to=TensorProto.FLOAT))
        for op, value in (("Div", 255), ("Sub", INFO.preprocess.mean), ("Div", INFO.preprocess.std)):
            name, last = f"c{len(steps)}", steps[-1].output[0]
            side = np.asarray(value, np.float32)
            shaped = side.reshape(-1, 1, 1) if side.ndim and layout == "NCHW" else side
            graph.initializer.append(numpy_helper.from_array(shaped, name))
            steps.append(helper.make_node(op, [last, name], [f"s{len(steps)}"]))
        last = steps[-1].output[0]
    if layout == "NHWC":
        steps.append(helper.make_node("Transpose", [last], ["moved"], perm=[0, 3, 1, 2]))
        last = "moved"
    graph.node[0].input[0] = last
    nodes = [*steps, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    shape = SHAPE if layout == "NCHW" else ("N", 4, 4, 3)
    graph.input[0].CopyFrom(helper.make_tensor_value_info("images", dtype, shape))
    return result


@pytest.mark.parametrize("name", RUNTIMES)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("dtype", ["FLOAT", "UINT8"])
def test_every_runtime_hands_over_pixels_as_the_file_wants_them(
    name: str, layout: str, dtype: str, tmp_path: Path
) -> None:
    """All four forms answer as the plain file does to the same pixels."""
    pixels = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 3), dtype=np.uint8)
    plain = load_runtime(name).open_model(saved(tmp_path, model()), 1)
    expected = logits_of(plain, pixels, INFO.preprocess)
    path = tmp_path / "form.onnx"
    path.write_bytes(of_pixels(layout, TensorProto.DataType.Value(dtype)).SerializeToString())

    session = load_runtime(name).open_model(path, 1)

    assert session.input_format == InputFormat("uint8" if dtype == "UINT8" else "float32", layout)
    assert (session.input_shape, input_size(session)) == ((None, 3, 4, 4), 4)
    assert logits_of(session, pixels, INFO.preprocess) == pytest.approx(expected, abs=1e-6)
    noise = session.input_format.noise(4, 4, 0)
    assert session.run(noise).shape == (1, 2)
    assert noise.max() > (100 if dtype == "UINT8" else 0.5)


@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        ((None, 3, 8, 8), "NCHW"), ((None, 8, 8, 3), "NHWC"), ((None, None, None, 3), "NHWC"),
        ((None, None, None, None), "NCHW"), ((None, 3, 8, 3), "NCHW"), ((None, 8, 8, None), None),
    ],
)  # fmt: skip
def test_the_layout_is_told_from_the_sides(shape: tuple[int | None, ...], layout: str | None) -> None:
    assert layout_of(shape) == layout


@pytest.mark.parametrize("name", RUNTIMES)
def test_the_only_rows_of_as_many_numbers_as_classes_are_the_logits(name: str, tmp_path: Path) -> None:
    """Beside features (N, 3): told by the classes that the file states, else by nothing."""
    content = model(outputs=("scores", "features"))
    content.graph.node[-1].CopyFrom(helper.make_node("Identity", ["flat"], ["features"]))
    session = load_runtime(name).open_model(saved(tmp_path, content), 1)
    images = np.random.default_rng(0).normal(size=(2, 3, 4, 4)).astype(np.float32)
    assert session.run(images) == pytest.approx(images.mean((2, 3))[:, :2], abs=1e-6)

    del content.metadata_props[:]
    with pytest.raises(ModelFileError, match=r"exactly one is float32 of shape \(N, classes\)"):
        load_runtime(name).open_model(saved(tmp_path, content))

    content.graph.node[-1].CopyFrom(helper.make_node("Identity", ["pooled"], ["features"]))
    session = load_runtime(name).open_model(saved(tmp_path, content), 1)
    assert session.run(images) == pytest.approx(images.mean((2, 3))[:, :2], abs=1e-6)


@pytest.mark.parametrize("name", RUNTIMES)
def test_every_runtime_keeps_the_contract(name: str, tmp_path: Path) -> None:
    runtime = load_runtime(name)
    assert runtime.version()
    session = runtime.open_model(saved(tmp_path, model()), 1)
    images = np.random.default_rng(0).normal(size=(2, 3, 4, 4)).astype(np.float32)
    logits = session.run(images)
    assert (logits.shape, logits.dtype) == ((2, 2), np.float32)
    assert logits == pytest.approx(images.mean((2, 3))[:, :2], abs=1e-6)
    session.run(images + 1)
    assert logits == pytest.approx(images.mean((2, 3))[:, :2], abs=1e-6)  # not overwritten
    fixed = runtime.open_model(saved(tmp_path, model((1, 3, 4, 4))), 1)
    assert fixed.run(images) == pytest.approx(logits, abs=1e-6)
    with pytest.raises(ModelFileError, match="fails on images of shape"):
        fixed.run(np.zeros((1, 3, 5, 5), np.float32))
    assert (session.info, session.input_shape, session.threads) == (INFO, (None, 3, 4, 4), 1)
    session.close()
    with pytest.raises(RuntimeError, match="was closed"):
        session.run(images)
    with pytest.raises(ModelFileError, match="no such file"):
        runtime.open_model(tmp_path / "absent.onnx")
