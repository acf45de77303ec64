"""Hostile or broken ONNX given to any command: exit code 4, and no session was ever created."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from PIL import Image

from fixtures.runs.onnxmodels import SIDE, photographs
from kdtool.bundle.packing import SUMS, checksums
from kdtool.bundle.proof.golden import Golden, Vector, golden_json
from kdtool.bundle.session import open_shipped
from kdtool.cli import main
from kdtool.core.errors import ModelFileError
from kdtool.core.screen import QUIET
from kdtool.data.prepare import prepare
from kdtool.recipe.settings import DataSettings, Recipe
from kdtool.runs.folder import RunFolder


def model_of(**changes: object) -> onnx.ModelProto:
    shape = changes.get("shape", ("n", 3, 8, 8))
    domain = str(changes.get("domain", ""))
    weight = helper.make_tensor("w", TensorProto.FLOAT, [3], [1.0, 1.0, 1.0])
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["images"], ["p"], domain=domain),
            helper.make_node("Flatten", ["p"], ["f"]),
            helper.make_node("Mul", ["f", "w"], ["logits"]),
        ],
        "g",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3])],
        [weight],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def external() -> bytes:
    model = model_of()
    tensor = model.graph.initializer[0]
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../../etc/passwd")
    return bytes(model.SerializeToString())


def enormous() -> bytes:
    model = model_of()
    model.graph.initializer[0].dims[:] = [1 << 40]
    return bytes(model.SerializeToString())


def growing() -> bytes:
    """Two hundred bytes whose constants want 400 MB."""
    model = model_of()
    model.graph.node.insert(0, helper.make_node("ConstantOfShape", ["s"], ["c"]))
    model.graph.initializer.append(helper.make_tensor("s", TensorProto.INT64, [1], [100_000_000]))
    return bytes(model.SerializeToString())


def without_output() -> bytes:
    model = model_of()
    model.graph.node.append(helper.make_node("Conv", ["images", "w"], []))
    return bytes(model.SerializeToString())


def cut_numbers() -> bytes:
    """A further tensor, of three bytes of float_data."""
    tensor = b"\x08\x01\x10\x01\x22\x03abc"
    graph = b"\x2a" + bytes([len(tensor)]) + tensor
    return bytes(model_of().SerializeToString()) + b"\x3a" + bytes([len(graph)]) + graph


def not_utf8(name: str) -> bytes:
    """The first letter of `name`, wherever it stands, is a byte that no text in UTF-8 has."""
    model = model_of()
    helper.set_model_props(model, {"origin": "elsewhere"})
    content = bytes(model.SerializeToString())
    assert name.encode() in content
    return content.replace(name.encode(), b"\xff" + name.encode()[1:])


HOSTILE = {
    "external data": external(),
    "a cut-off file": model_of().SerializeToString()[:-9],
    "no protobuf": b"\x00\x01 this is a web page",
    "an enormous tensor": enormous(),
    "an enormous input": model_of(shape=(1, 3, 1 << 20, 1 << 20)).SerializeToString(),
    "an unknown domain": model_of(domain="evil.corp").SerializeToString(),
    "a growing constant": growing(),
    "a node without output": without_output(),
    "numbers cut off": cut_numbers(),
    "an input's name that is not UTF-8": not_utf8("images"),
    "an output's name that is not UTF-8": not_utf8("logits"),
    "an operator's name that is not UTF-8": not_utf8("Flatten"),
    "a key of metadata that is not UTF-8": not_utf8("origin"),
    "metadata that is not UTF-8": not_utf8("elsewhere"),
    "nothing": b"",
}
# A run whose models no manifest vouches for was filled by hand; all commands take its files as they are.
COMMANDS = {
    "bench": ["bench", "{model}"],
    "bench of a folder": ["bench", "{run}"],
    "bench --per-layer": ["bench", "--per-layer", "{model}"],
    "bench in OpenVINO": ["bench", "--runtime", "openvino", "{model}"],
    "bench --like": ["bench", "--like", "{model}", "--data", "{source}", "{good}"],
    "quantize": ["quantize", "{run}"],
    "predict": ["predict", "{image}", "--model", "{model}"],
    "bundle": ["bundle", "{run}"],
    "verify": ["verify", "{bundle}"],
}


def shipped(bundle: Path, model: bytes) -> None:
    """A bundle whose checksums are right, so that its model is opened."""
    (bundle / "golden").mkdir(parents=True)
    (bundle / "student.onnx").write_bytes(model)
    vector = Vector("a.png", "a.npy", "", (), {"student.onnx": (0.0,)})
    (bundle / "golden" / "golden.json").write_text(golden_json(Golden(1, {"student.onnx": 1.0}, (vector,))))
    (bundle / SUMS).write_text(checksums(bundle, ["student.onnx", "golden/golden.json"]))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with data and without models, its photographs, a picture and a sound model."""
    place = tmp_path_factory.mktemp("hostile")
    photographs(place / "source", {"train": 2, "validation": 2, "test": 2})
    run = RunFolder(place / "run")
    prepared, _ = prepare(str(place / "source"), DataSettings(size=SIDE), 0, run.data, QUIET)
    recipe = Recipe(name="tiny").to_json()
    classes = list(prepared.classes)
    run.write_record({"recipe": recipe, "seed": 0, "source": str(place / "source"), "classes": classes})
    run.onnx.mkdir()
    (place / "good.onnx").write_bytes(model_of().SerializeToString())
    Image.new("RGB", (SIDE, SIDE)).save(place / "image.png")
    return place


@pytest.fixture
def places(template: Path, tmp_path: Path) -> dict[str, str]:
    """Where everything lies that a command may be given; the model is still to be written."""
    place = tmp_path / "place"
    shutil.copytree(template, place)
    found = {
        "run": "run", "model": "run/onnx/student.onnx", "good": "good.onnx", "image": "image.png",
        "bundle": "shipped", "source": "source",
    }  # fmt: skip
    return {name: str(place / path) for name, path in found.items()}


def ran(command: list[str], places: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit code; fails where a runtime was given anything."""
    opened: list[object] = []

    def noted(*given: object, **_: object) -> None:
        opened.append(given)
        raise RuntimeError("no session in this test")

    monkeypatch.setattr(onnxruntime, "InferenceSession", noted)
    if "openvino" in command:
        monkeypatch.setattr("openvino.Core", noted)
    with pytest.raises(SystemExit) as stop:
        main([part.format(**places) for part in command])
    assert not opened
    return int(stop.value.code or 0)


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("command", COMMANDS)
def test_exit_4_before_any_session(
    command: str,
    kind: str,
    places: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if "openvino" in COMMANDS[command]:
        pytest.importorskip("openvino")
    Path(places["model"]).write_bytes(HOSTILE[kind])
    shipped(Path(places["bundle"]), HOSTILE[kind])

    code = ran(COMMANDS[command], places, monkeypatch)

    shown = capsys.readouterr()
    assert code == 4, shown.err
    assert "student.onnx" in shown.err
    assert "Traceback" not in shown.err


@pytest.mark.parametrize("kind", HOSTILE)
def test_onnx_under_the_name_of_another_format_does_not_pass_by_the_guard(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A runtime goes by the content of what it is given, and not by the name."""
    opened: list[object] = []
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *given, **_: opened.append(given))
    path = tmp_path / "student.ort"
    path.write_bytes(HOSTILE[kind])
    with pytest.raises(
        ModelFileError, match=r"student\.ort: not a file in ONNX Runtime's own format"
    ) as caught:
        open_shipped(path)
    assert caught.value.exit_code == 4
    assert not opened


def test_what_claims_to_be_of_that_format_is_read_as_nothing_else(tmp_path: Path) -> None:
    """Its mark alone makes no model of it."""
    path = tmp_path / "student.ort"
    path.write_bytes(b"\x18\0\0\0ORTM" + bytes(64))
    with pytest.raises(ModelFileError, match=r"student\.ort: onnxruntime \S+ cannot load it"):
        open_shipped(path)


@pytest.mark.parametrize("kind", HOSTILE)
def test_doctor_calls_it_broken(
    kind: str,
    places: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its answer is about the installation and the run as a whole, so its exit code is 5."""
    Path(places["model"]).write_bytes(HOSTILE[kind])
    monkeypatch.setattr("kdtool.doctor.installation.check_installation", lambda: ())  # a process of its own

    assert ran(["doctor", "{run}", "--json"], places, monkeypatch) == 5

    found = {finding["about"]: finding["level"] for finding in json.loads(capsys.readouterr().out)}
    assert found[places["model"]] == "broken"
