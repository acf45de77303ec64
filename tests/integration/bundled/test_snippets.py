"""infer.py and the README: Python is run, Kotlin, Swift and Dart are parsed."""

from __future__ import annotations

import importlib
import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tree_sitter import Language, Parser

from kdtool.bundle import texts
from kdtool.bundle.preprocessing import preprocess_json
from kdtool.bundle.proof.golden import read_golden
from kdtool.core.preprocess import Preprocess, decode

INFER = Path(texts.__file__).with_name("templates") / "infer.py"


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
    random = np.random.default_rng(3)
    if mode == "I;16":
        image = Image.fromarray(random.integers(0, 65536, (31, 45), dtype=np.uint16))
    else:
        image = Image.fromarray(random.integers(0, 256, (31, 45, 4), dtype=np.uint8), "RGBA").convert(mode)
    path = tmp_path / ("image.tif" if mode in ("CMYK", "I;16") else "image.png")
    image.save(path)
    preprocess = Preprocess(24, 20, interpolation)
    expected = preprocess.pixels(decode(path.read_bytes(), "image"))
    read_pixels = runpy.run_path(str(INFER))["read_pixels"]
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
