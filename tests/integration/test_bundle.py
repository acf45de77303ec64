"""kdtool bundle and kdtool verify on a run of tiny models; what is shipped is executed."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from PIL import Image

from kdtool.bundle.checksums import SUMS
from kdtool.bundle.golden import read_golden
from kdtool.bundle.options import Options
from kdtool.bundle.runtime import CDN, INTEGRITY, WebRuntime, find_runtime
from kdtool.bundle.stage import write_bundle
from kdtool.bundle.targets import TARGETS
from kdtool.bundle.verify import verify
from kdtool.cli import main
from kdtool.core.benchresult import BenchResult, Host, Latency, ModelResult
from kdtool.core.claim import Thresholds, Verdict
from kdtool.core.errors import GateError, ModelFileError, UsageError
from kdtool.core.files import sha256_file
from kdtool.core.preprocess import Preprocess, decode
from kdtool.core.run import RunFolder
from kdtool.core.screen import QUIET
from screens import Recorder

REMOTE = WebRuntime(None)
APP = {
    "model.onnx", "model.int8.onnx", "model.uint8.onnx", "model.ort", "model.required_operators.config",
    "labels.txt", "preprocess.json", "MODEL_CARD.md", "README.md", "infer.py", "SHA256SUMS", "bundle.json",
    "config.json", "preprocessor_config.json", "golden/golden.json", "js/preprocess.js",
}  # fmt: skip
HOSTILE = ("<script>alert(1)<x>", "a|b *c* [d](e) `f`", "line\nbreak")


@pytest.fixture
def run(bundled: Path, tmp_path: Path) -> RunFolder:
    """A copy of the run, bundled already."""
    return RunFolder(Path(shutil.copytree(bundled.parent, tmp_path / "run")))


def logits_of(model: Path, tensor: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: tensor})[0])


def exit_code(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return int(stop.value.code or 0)


def seal_again(bundle: Path, name: str) -> None:
    """Make the checksum of a changed file right, so that what it says is looked at."""
    path = bundle / SUMS
    lines = [line for line in path.read_text().splitlines() if not line.endswith(f"  {name}")]
    path.write_text("\n".join([*lines, f"{sha256_file(bundle / name)}  {name}"]) + "\n")


# --- what is written ---------------------------------------------------------------------------


def test_the_bundle_has_every_part(bundled: Path) -> None:
    files = {path.relative_to(bundled).as_posix() for path in bundled.rglob("*") if path.is_file()}
    assert files >= APP | {"onnx/model.onnx", "onnx/model_quantized.onnx", "web/index.html", "web/sw.js"}
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


@pytest.mark.parametrize("part", ["", "onnx", "web"])
def test_the_checksums_are_those_of_sha256sum(bundled: Path, part: str) -> None:
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "--quiet", SUMS],
        cwd=bundled / part,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    listed = {line.split("  ", 1)[1] for line in (bundled / part / SUMS).read_text().splitlines()}
    others = ("onnx/", "web/") if not part else ()
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
    assert not any(name.startswith(("onnx/", "web/")) for name in files)
    assert exit_code("verify", folder) == 0
    assert "9 golden images: pixels differ by at most 0 of 255" in capsys.readouterr().out


def test_the_hubs_models_take_pixel_values_and_answer_the_same(bundled: Path) -> None:
    tensor = np.random.default_rng(1).normal(size=(2, 3, 16, 16)).astype(np.float32)
    for hub, own in (("model.onnx", "model.onnx"), ("model_quantized.onnx", "model.int8.onnx")):
        session = ort.InferenceSession(str(bundled / "onnx" / hub), providers=["CPUExecutionProvider"])
        assert [node.name for node in session.get_inputs()] == ["pixel_values"]
        assert [node.name for node in session.get_outputs()] == ["logits"]
        assert np.array_equal(
            session.run(None, {"pixel_values": tensor})[0], logits_of(bundled / own, tensor)
        )
    config = json.loads((bundled / "config.json").read_text())
    assert config["id2label"] == {"0": "blue", "1": "green", "2": "red"}
    assert config["label2id"] == {"blue": 0, "green": 1, "red": 2}
    assert config["transformers.js_config"] == {"dtype": "fp32"}  # its default may not be there
    assert '{ dtype: "q8" }' in (bundled / "README.md").read_text()
    processor = json.loads((bundled / "preprocessor_config.json").read_text())
    assert processor["size"] == {"shortest_edge": 20}
    assert processor["crop_size"] == {"height": 16, "width": 16}
    assert processor["resample"] == 2


def test_a_bundle_without_int8_names_no_quantized_file(run: RunFolder) -> None:
    run.onnx_model("student", "int8").unlink()
    folder = write_bundle(run, Options(), REMOTE, QUIET)
    assert not (folder / "onnx" / "model_quantized.onnx").exists()
    assert "q8" not in (folder / "README.md").read_text()


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
    for page in ("README.md", "MODEL_CARD.md", "web/index.html"):
        assert "<script>alert" not in (folder / page).read_text(), page
    assert "&lt;script&gt;" in (folder / "MODEL_CARD.md").read_text()
    assert r"a\|b \*c\* \[d\]" in (folder / "MODEL_CARD.md").read_text()
    assert len((folder / "labels.txt").read_text().splitlines()) == 3
    assert set(json.loads((folder / "bundle.json").read_text())["labels"]) == set(HOSTILE)


@pytest.mark.parametrize("void", [(), ("the processor is emulated",)], ids=["counts", "void"])
def test_void_latencies_are_published_nowhere(run: RunFolder, void: tuple[str, ...]) -> None:
    model = run.onnx_model("student")
    row = ModelResult(
        "student", "student", "fp32", 0.5, (0.25, 0.75), 12, None, None, 700, 9000, 30,
        Latency(1.25, 2.5, (1.25, 2.5), (3.0,), 1), model.name, sha256_file(model),
    )  # fmt: skip
    host = Host("A CPU", "x86_64", (), 4, 2, None, None, None, None, (), None, "Linux", {})
    claim = Verdict("INCONCLUSIVE", None, None, None, None, Thresholds(), None, ())
    result = BenchResult(host, (row,), claim, None, ("a note",), void=void)
    run.bench.write_text(json.dumps(result.to_json()))
    folder = write_bundle(run, Options(), REMOTE, QUIET)
    card = (folder / "MODEL_CARD.md").read_text()
    assert "| model.onnx | 50.0 |" in card  # the accuracy counts in any case
    assert ("1.25" in card) != bool(void)
    assert ("Void (the processor is emulated), measured on: A CPU" in card) == bool(void)
    for name in ("bundle.json", "web/bundle.json"):
        said = json.loads((folder / name).read_text())
        assert said["card"]["void"] == list(void)
        assert (said["models"][0]["latency"] is None) == bool(void)


# --- once more ---------------------------------------------------------------------------------


def test_a_complete_bundle_is_skipped_and_a_damaged_one_made_again(run: RunFolder) -> None:
    listener = Recorder()
    folder = write_bundle(run, Options(), REMOTE, QUIET)
    write_bundle(run, Options(), REMOTE, listener)
    assert listener.said == ["bundle: complete, skipped"]  # and it lacks no kind of model
    whole = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(whole[:-1])
    archive = (run.path / "bundle.zip").read_bytes()
    write_bundle(run, Options(), REMOTE, QUIET)
    assert (folder / "model.onnx").read_bytes() == whole
    assert (run.path / "bundle.zip").read_bytes() == archive  # the same bytes for the same run
    assert not list(run.path.glob("*.partial"))


def test_other_options_make_another_bundle(run: RunFolder) -> None:
    write_bundle(run, Options(), REMOTE, QUIET)
    folder = write_bundle(run, Options(license="CC-BY-4.0", data_license="private"), REMOTE, QUIET)
    assert "- **Model**: CC-BY-4.0" in (folder / "MODEL_CARD.md").read_text()
    assert "- **Training data**: private" in (folder / "MODEL_CARD.md").read_text()
    assert "\nlicense: cc-by-4.0\n" in (folder / "README.md").read_text()


def test_a_folder_of_something_else_is_left_alone(run: RunFolder) -> None:
    shutil.rmtree(run.path / "bundle")
    (run.path / "bundle").mkdir()
    (run.path / "bundle" / "thesis.tex").write_text("mine")
    with pytest.raises(UsageError, match="something else than a bundle"):
        write_bundle(run, Options(), REMOTE, QUIET)
    assert (run.path / "bundle" / "thesis.tex").read_text() == "mine"


def test_a_run_without_exports_says_what_is_missing(run: RunFolder) -> None:
    with pytest.raises(UsageError, match="has no exported teacher"):
        write_bundle(run, Options(role="teacher"), REMOTE, QUIET)
    assert exit_code("bundle", run.path, "--role", "pupil") == 2


def test_a_repacked_int8_model_has_the_limit_of_int8(run: RunFolder) -> None:
    shutil.copy(run.onnx_model("student", "int8"), run.onnx / "student.uint8.onnx")
    tolerance = read_golden(write_bundle(run, Options(), REMOTE, QUIET)).logit_tolerance
    assert tolerance["model.uint8.onnx"] == tolerance["model.int8.onnx"] > tolerance["model.ort"]


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        (("int8.onnx",), "without model.int8.onnx; to add: kdtool quantize {run}, kdtool bundle {run}"),
        (
            ("uint8.onnx", "ort"),
            "without model.uint8.onnx, model.ort; to add: kdtool export --onnx --uint8 --ort {run}, "
            "kdtool quantize {run}, kdtool bundle {run}",
        ),
    ],
)
def test_what_a_bundle_lacks_is_said_with_the_commands_that_add_it(
    run: RunFolder, gone: tuple[str, ...], said: str
) -> None:
    for suffix in gone:
        (run.onnx / f"student.{suffix}").unlink()
    for _ in ("made", "skipped"):
        listener = Recorder()
        write_bundle(run, Options(), REMOTE, listener)
        assert listener.said[-1] == f"bundle: {said.format(run=run.path)}"


def test_an_app_takes_one_of_the_models_and_their_sizes_are_said(run: RunFolder) -> None:
    listener = Recorder()
    write_bundle(run, Options(), REMOTE, listener)
    size = (run.path / "bundle.zip").stat().st_size / 1e6
    said = f"bundle: {run.path / 'bundle'}, bundle.zip {size:.1f} MB; an app takes one of 4 model(s)"
    assert listener.said[0].startswith(said)


def test_an_8_bit_model_that_is_another_network_is_not_shipped(
    run: RunFolder, make_bundle_run: Callable[..., RunFolder]
) -> None:
    import onnx
    from onnx import numpy_helper

    path = run.onnx / "student.uint8.onnx"
    model = onnx.load(path)
    (scale,) = [one for one in model.graph.initializer if one.name == "scale"]
    scale.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(scale) * 1.5, "scale"))
    onnx.save(model, path)
    with pytest.raises(GateError, match=r"model\.uint8\.onnx answers otherwise than model\.onnx"):
        write_bundle(run, Options(), REMOTE, QUIET)


# --- targets -----------------------------------------------------------------------------------


def test_a_target_that_nothing_fits_fails_when_asked_for_and_warns_when_not(
    make_bundle_run: Callable[..., RunFolder],
) -> None:
    run = make_bundle_run(opset=21)
    with pytest.raises(GateError, match="No model file fits the target web") as caught:
        write_bundle(run, Options(targets=("web",)), REMOTE, QUIET)
    assert "opset 21, loads up to 20" in caught.value.message
    assert not (run.path / "bundle").exists()
    listener = Recorder()
    folder = write_bundle(run, Options(), REMOTE, listener)
    assert any("No file fits web without a doubt" in said for said in listener.warned)
    assert re.search(r"\| web \|.*\| none of these \|.*opset 21", (folder / "README.md").read_text())


def section(readme: str, title: str) -> str:
    return readme.split(f"\n## {title}", 1)[1].split("\n## ", 1)[0]


def test_a_section_says_where_its_snippet_is_not_for_the_file_to_take(
    bundled: Path, make_bundle_run: Callable[..., RunFolder]
) -> None:
    command = "`kdtool export --onnx --compat`"
    run = make_bundle_run(opset=21)
    run.onnx_model("student", "int8").unlink()
    readme = (write_bundle(run, Options(), REMOTE, QUIET) / "README.md").read_text()
    assert f"onnxruntime-web 1.17 does not load `model.onnx`.** Make one that it loads with {command}" in (
        section(readme, "Web")
    )
    assert command not in section(readme, "Android")
    assert re.search(r"\| android \|.*\| `model\.uint8\.onnx` \|", readme)
    assert "The snippet feeds `model.onnx`; `model.uint8.onnx`, the file to take, is fed otherwise." in (
        section(readme, "Android")
    )
    usual = (bundled / "README.md").read_text()
    assert command not in usual
    assert "The snippet feeds" not in usual


def test_each_target_takes_what_it_runs_well(bundled: Path) -> None:
    readme = (bundled / "README.md").read_text()
    taken = dict(re.findall(r"^\| ([a-z-]+) \| .*? \| `(model[^`]*)` \|", readme, re.MULTILINE))
    assert set(taken) == set(TARGETS)
    assert taken["ios"] == taken["web"] == "model.onnx"
    assert taken["android"] == "model.int8.onnx"


def test_an_unknown_target_is_named(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("bundle", run.path, "--target", "toaster") == 2
    assert "allowed: android, ios" in capsys.readouterr().err


# --- the page's runtime ------------------------------------------------------------------------


def test_the_runtime_of_the_page_is_pinned_by_hash(bundled: Path, run: RunFolder) -> None:
    from kdtool.bundle.runtime import integrity_of

    local = json.loads((bundled / "web" / "bundle.json").read_text())["runtime"]
    assert local["local"], "onnxruntime-web is not installed: make setup-test"
    for name, integrity in INTEGRITY.items():
        assert integrity_of((bundled / "web" / "ort" / name).read_bytes()) == integrity
    folder = write_bundle(run, Options(), REMOTE, QUIET)
    remote = json.loads((folder / "web" / "bundle.json").read_text())["runtime"]
    assert not remote["local"]
    assert remote["wasm"] == {"url": CDN + "ort-wasm-simd-threaded.wasm", **remote["wasm"]} | {
        "integrity": INTEGRITY["ort-wasm-simd-threaded.wasm"]
    }
    assert not (folder / "web" / "ort").exists()


def test_a_runtime_of_another_version_is_refused(tmp_path: Path) -> None:
    for name in INTEGRITY:
        (tmp_path / name).write_bytes(b"another")
    with pytest.raises(UsageError, match="does not hold"):
        find_runtime(tmp_path)


# --- infer.py and the README -------------------------------------------------------------------


def isolated(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python without the way to kdtool."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder, capture_output=True, text=True, timeout=60, env={**os.environ, "PYTHONPATH": ""},
    )  # fmt: skip


@pytest.mark.parametrize("model", ["model.onnx", "model.int8.onnx", "model.uint8.onnx"])
def test_infer_gives_the_golden_logits_and_imports_three_libraries(bundled: Path, model: str) -> None:
    code = f"""
import json, sys
from infer import Classifier
classifier = Classifier({model!r})
golden = json.load(open("golden/golden.json"))
print(json.dumps([classifier.logits("golden/" + v["image"]).tolist() for v in golden["vectors"]]))
print(*{{"kdtool", "torch", "onnx"}} & sys.modules.keys())
"""
    done = isolated(bundled, "-c", code)
    assert done.returncode == 0, done.stderr
    answers, others = done.stdout.splitlines()
    assert others == ""
    for vector, answer in zip(read_golden(bundled).vectors, json.loads(answers), strict=True):
        assert answer == pytest.approx(vector.logits[model], abs=1e-5), vector.image


def test_infer_classifies_on_the_command_line(bundled: Path) -> None:
    done = isolated(bundled, "infer.py", "--top", "2", "golden/photo-1.png", "README.md")
    assert done.returncode == 1
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["golden/photo-1.png"] * 2
    assert "README.md" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "LA", "I;16", "CMYK", "1"])
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos"])
def test_infers_preprocessing_is_kdtools(mode: str, interpolation: str, tmp_path: Path) -> None:
    from kdtool.bundle.infer import read_pixels
    from kdtool.bundle.spec import preprocess_json

    random = np.random.default_rng(3)
    if mode == "I;16":
        image = Image.fromarray(random.integers(0, 65536, (31, 45), dtype=np.uint16))
    else:
        image = Image.fromarray(random.integers(0, 256, (31, 45, 4), dtype=np.uint8), "RGBA").convert(mode)
    path = tmp_path / ("image.tif" if mode in ("CMYK", "I;16") else "image.png")
    image.save(path)
    preprocess = Preprocess(24, 20, interpolation)
    expected = preprocess.pixels(decode(path.read_bytes(), "image"))
    assert np.array_equal(read_pixels(path, preprocess_json(preprocess)), expected)


def test_the_readmes_python_runs(bundled: Path) -> None:
    (code,) = re.findall(r"```python\n(from infer.*?)```", (bundled / "README.md").read_text(), re.DOTALL)
    done = isolated(bundled, "-c", code)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3


GRAMMARS = {
    "kotlin": "tree_sitter_kotlin",
    "swift": "tree_sitter_swift",
    "dart": "tree_sitter_dart_orchard",
}


@pytest.mark.parametrize("language", GRAMMARS)
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos"])
def test_the_snippets_of_other_languages_parse(language: str, interpolation: str) -> None:
    from tree_sitter import Language, Parser

    from kdtool.bundle import texts

    keys = {"kotlin": "kotlin", "swift": "swift", "dart": "dart"}
    values = {
        "size": 224, "resize": 256, "interpolation": interpolation, "nearest": interpolation == "nearest",
        "reach": texts.REACH[interpolation], "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225],
        "file": "model.onnx", "input": "images", "output": "logits", "ort": "onnxruntime-web",
    }  # fmt: skip
    code = texts.render(texts.SNIPPETS[keys[language]], values)
    grammar = Language(importlib.import_module(GRAMMARS[language]).language())
    tree = Parser(grammar).parse(code.encode())
    assert not tree.root_node.has_error
    assert Parser(grammar).parse(code.replace("}", "", 1).encode()).root_node.has_error  # the parser notices


# --- verify ------------------------------------------------------------------------------------


def test_verify_says_what_it_found(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("verify", run.path / "bundle", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["images"] == 9
    assert found["pixels"] == 0
    assert max(found["logits"].values()) < 1e-4


@pytest.mark.parametrize("name", ["model.int8.onnx", "golden/photo-1.png", "web/app.js", "onnx/model.onnx"])
def test_a_changed_file_is_found(run: RunFolder, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = run.path / "bundle" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()  # it may have a second name
    path.write_bytes(content)
    assert exit_code("verify", run.path / "bundle") == 4
    assert name.split("/")[-1] in capsys.readouterr().err


def test_a_missing_file_is_found(run: RunFolder) -> None:
    (run.path / "bundle" / "labels.txt").unlink()
    with pytest.raises(ModelFileError, match=r"labels\.txt: missing"):
        verify(run.path / "bundle", QUIET)


def test_a_folder_that_is_no_bundle_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("verify", tmp_path) == 4
    assert "is not a bundle" in capsys.readouterr().err


def test_checksums_that_leave_the_folder_are_refused(run: RunFolder) -> None:
    bundle = run.path / "bundle"
    (bundle / SUMS).write_text(f"{'0' * 64}  ../run.json\n")
    with pytest.raises(ModelFileError, match="not a list of checksums"):
        verify(bundle, QUIET)


def test_other_preprocessing_is_a_failed_gate_that_names_the_pixel(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = run.path / "bundle"
    path = bundle / "golden" / "drawn-stripes.npy"
    pixels = np.load(path)
    pixels[3, 5, 1] += 2
    path.unlink()
    np.save(path, pixels)
    seal_again(bundle, "golden/drawn-stripes.npy")
    shutil.rmtree(bundle / "web")
    assert exit_code("verify", bundle) == 6
    assert "row 3, column 5, green" in capsys.readouterr().err


@pytest.mark.parametrize("file", ["model.onnx", "model.int8.onnx", "model.uint8.onnx", "model.ort"])
def test_other_logits_are_a_failed_gate_that_names_the_number(
    run: RunFolder, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = run.path / "bundle"
    path = bundle / "golden" / "golden.json"
    golden = json.loads(path.read_text())
    golden["vectors"][2]["logits"][file][1] += 3
    path.write_text(json.dumps(golden))
    seal_again(bundle, "golden/golden.json")
    assert exit_code("verify", bundle) == 6
    said = capsys.readouterr().err
    assert f"{file} on photo-3.png: logits differ, first number 1" in said
    assert "Traceback" not in said


def test_a_broken_list_of_images_is_a_broken_bundle(run: RunFolder) -> None:
    bundle = run.path / "bundle"
    (bundle / "golden" / "golden.json").write_text('{"schema": 1}')
    seal_again(bundle, "golden/golden.json")
    with pytest.raises(ModelFileError, match=r"golden\.json: cannot be read"):
        verify(bundle, QUIET)
