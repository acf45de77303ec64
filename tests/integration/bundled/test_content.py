"""What kdtool bundle writes: the folder, the zip, the layout of the hub, card and pictures."""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper
from PIL import Image

from fixtures.bundles import REMOTE
from fixtures.commands import kdtool
from kdtool.bundle.options import Options
from kdtool.bundle.packing import SUMS
from kdtool.bundle.proof.golden import read_golden
from kdtool.bundle.stage import write_bundle
from kdtool.core.files import sha256_file
from kdtool.core.screen import QUIET
from kdtool.machine.host import Host
from kdtool.results.bench import BenchResult, Latency, ModelResult
from kdtool.results.claim import Verdict
from kdtool.runs.folder import RunFolder
from kdtool.runtime.onnxbytes.declared import onnx_info

APP = {
    "model.onnx", "model.int8.onnx", "model.uint8.onnx", "model.ort", "model.required_operators.config",
    "labels.txt", "preprocess.json", "MODEL_CARD.md", "README.md", "infer.py", "SHA256SUMS", "bundle.json",
    "golden/golden.json", "js/preprocess.js",
}  # fmt: skip
HUB = {
    "hub/README.md", "hub/config.json", "hub/preprocessor_config.json", "hub/preprocess.json",
    "hub/js/preprocess.js", "hub/onnx/model.onnx", "hub/onnx/model_quantized.onnx",
}  # fmt: skip
HOSTILE = ("<script>alert(1)<x>", "a|b *c* [d](e) `f`", "line\nbreak")


def logits_of(model: Path, tensor: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: tensor})[0])


def test_the_bundle_has_every_part(bundled: Path) -> None:
    files = {path.relative_to(bundled).as_posix() for path in bundled.rglob("*") if path.is_file()}
    assert files >= APP | HUB | {"web/index.html", "web/sw.js"}
    golden = read_golden(bundled)
    assert len(golden.vectors) == 4 + 5
    assert {vector.label for vector in golden.vectors} == {"red", "green", "blue", ""}
    for vector in golden.vectors:
        assert set(vector.logits) == {"model.onnx", "model.int8.onnx", "model.uint8.onnx", "model.ort"}
    assert (bundled / "labels.txt").read_text() == "blue\ngreen\nred\n"
    rule = json.loads((bundled / "preprocess.json").read_text())
    models = {model["kind"]: model for model in json.loads((bundled / "bundle.json").read_text())["models"]}
    assert {(models[kind]["ir"], models[kind]["opset"]) for kind in ("fp32", "int8", "uint8")} == {(8, 18)}
    assert models["ort"]["opset"] == 18
    assert models["ort"]["ort"] >= 6
    assert rule["resize"]["shortest_side"] == 20
    assert rule["crop"]["size"] == 16


@pytest.mark.parametrize("part", ["", "hub", "web"])
def test_the_checksums_are_those_of_sha256sum(bundled: Path, part: str) -> None:
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "--quiet", SUMS],
        cwd=bundled / part,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    listed = {line.split("  ", 1)[1] for line in (bundled / part / SUMS).read_text().splitlines()}
    others = ("hub/", "web/") if not part else ()
    there = {
        path.relative_to(bundled / part).as_posix()
        for path in (bundled / part).rglob("*")
        if path.is_file() and path.name != SUMS
    }
    assert listed == {name for name in there if not name.startswith(others or ("\0",))}


def test_the_zip_is_the_app_and_verifies_where_it_is_unpacked(
    bundled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with zipfile.ZipFile(bundled.parent / "bundle.zip") as archive:
        archive.extractall(tmp_path)
    folder = tmp_path / "run-bundle"
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert files >= APP
    assert not any(name.startswith(("hub/", "web/")) for name in files)
    assert kdtool("verify", folder) == 0
    assert "9 golden images: pixels differ by at most 0 of 255" in capsys.readouterr().out


def test_the_hubs_models_take_pixel_values_and_answer_the_same(bundled: Path) -> None:
    tensor = np.random.default_rng(1).normal(size=(2, 3, 16, 16)).astype(np.float32)
    for hub, own in (("model.onnx", "model.onnx"), ("model_quantized.onnx", "model.int8.onnx")):
        session = ort.InferenceSession(
            str(bundled / "hub" / "onnx" / hub), providers=["CPUExecutionProvider"]
        )
        assert [node.name for node in session.get_inputs()] == ["pixel_values"]
        assert [node.name for node in session.get_outputs()] == ["logits"]
        assert np.array_equal(
            session.run(None, {"pixel_values": tensor})[0], logits_of(bundled / own, tensor)
        )
    config = json.loads((bundled / "hub" / "config.json").read_text())
    assert config["id2label"] == {"0": "blue", "1": "green", "2": "red"}
    assert config["label2id"] == {"blue": 0, "green": 1, "red": 2}
    assert config["transformers.js_config"] == {"dtype": "fp32"}  # its default may not be there
    assert not (bundled / "config.json").exists()  # Optimum would take the model beside it, of another input
    for readme in (bundled / "README.md", bundled / "hub" / "README.md"):
        assert '{ dtype: "q8" }' in readme.read_text()
    processor = json.loads((bundled / "hub" / "preprocessor_config.json").read_text())
    assert processor["size"] == {"shortest_edge": 20}
    assert processor["crop_size"] == {"height": 16, "width": 16}
    assert processor["resample"] == 2


def test_a_bundle_without_int8_names_no_quantized_file(run: RunFolder) -> None:
    run.onnx_model("student", "int8").unlink()
    folder = write_bundle(run, Options(), REMOTE, QUIET)
    assert not (folder / "hub" / "onnx" / "model_quantized.onnx").exists()
    for readme in (folder / "README.md", folder / "hub" / "README.md"):
        assert "q8" not in readme.read_text()
        assert "model_quantized" not in readme.read_text()


def test_photographs_are_shipped_without_what_a_camera_writes(bundled: Path) -> None:
    golden = read_golden(bundled)
    photos = [vector for vector in golden.vectors if vector.label]
    for vector in photos:
        with Image.open(bundled / "golden" / vector.image) as image:
            assert image.format == "PNG"
            assert image.size == (32, 40)  # from the folder of the run, not the prepared pixels
            assert not image.info
            assert not image.getexif()


def test_without_photographs_none_is_shipped(run: RunFolder) -> None:
    folder = write_bundle(run, Options(photographs=0), REMOTE, QUIET)
    assert not list(folder.rglob("photo-*"))
    assert len(read_golden(folder).vectors) == 5


def test_where_the_photographs_are_gone_the_prepared_pixels_are_shipped(run: RunFolder) -> None:
    run.write_record({**run.read_record(), "source": "/nowhere"})
    folder = write_bundle(run, Options(photographs=1), REMOTE, QUIET)
    with Image.open(folder / "golden" / "photo-1.png") as image:
        assert image.size == (16, 16)


def test_a_bundle_on_a_device_without_data_has_drawn_images(run: RunFolder) -> None:
    shutil.rmtree(run.data)
    assert len(read_golden(write_bundle(run, Options(), REMOTE, QUIET)).vectors) == 5


def test_hostile_class_names_are_text_everywhere(make_bundle_run: Callable[..., RunFolder]) -> None:
    folder = write_bundle(make_bundle_run(HOSTILE), Options(), REMOTE, QUIET)
    for page in ("README.md", "MODEL_CARD.md", "hub/README.md", "web/index.html"):
        assert "<script>alert" not in (folder / page).read_text(), page
    assert "&lt;script&gt;" in (folder / "MODEL_CARD.md").read_text()
    assert r"a\|b \*c\* \[d\]" in (folder / "MODEL_CARD.md").read_text()
    assert len((folder / "labels.txt").read_text().splitlines()) == 3
    assert set(json.loads((folder / "bundle.json").read_text())["labels"]) == set(HOSTILE)


def test_a_finetuned_model_is_told_from_the_others(run: RunFolder) -> None:
    said = "model.int8.onnx was fine-tuned for INT8 (2 epochs) and the float model was not"
    card = run.path / "bundle" / "MODEL_CARD.md"
    assert said not in card.read_text()
    info = onnx_info(run.onnx_model("student"))
    tuned = onnx.load(run.onnx_model("student", "int8"))
    helper.set_model_props(tuned, replace(info, notes={"finetuned": "2 epochs"}).to_metadata())
    onnx.save(tuned, run.onnx_model("student", "int8"))
    folder = write_bundle(run, Options(), REMOTE, QUIET)
    assert f"- **Fine-tuning**: {said}" in card.read_text()
    for name in ("bundle.json", "web/bundle.json"):
        told = json.loads((folder / name).read_text())
        assert [text[: len(said)] for term, text in told["card"]["facts"] if term == "Fine-tuning"] == [said]
        tuned = {model["file"]: model["finetuned"] for model in told["models"] if model["finetuned"]}
        assert tuned == {"model.int8.onnx": "2 epochs"}


@pytest.mark.parametrize("void", [(), ("the processor is emulated",)], ids=["counts", "void"])
def test_void_latencies_are_published_nowhere(run: RunFolder, void: tuple[str, ...]) -> None:
    model = run.onnx_model("student")
    row = ModelResult(
        "student", "student", "fp32", 0.5, (0.25, 0.75), 12, None, None, 700, 9000, 30,
        Latency(1.25, 2.5, (1.25, 2.5), (3.0,), 1), model.name, sha256_file(model),
    )  # fmt: skip
    host = Host("A CPU", "x86_64", (), 4, 2, None, None, None, None, (), None, "Linux", {})
    claim = Verdict("INCONCLUSIVE", ())
    result = BenchResult(host, (row,), claim, None, ("a note",), void=void)
    run.bench.write_text(json.dumps(result.to_json()))
    folder = write_bundle(run, Options(), REMOTE, QUIET)
    card = (folder / "MODEL_CARD.md").read_text()
    assert "| model.onnx | 50.0 |" in card  # the accuracy counts in any case
    assert ("1.25" in card) != bool(void)
    assert ("void (the processor is emulated). They come from: A CPU" in card) == bool(void)
    for name in ("bundle.json", "web/bundle.json"):
        said = json.loads((folder / name).read_text())
        assert said["card"]["void"] == list(void)
        assert (said["models"][0]["latency"] is None) == bool(void)
