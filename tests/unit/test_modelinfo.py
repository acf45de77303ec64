"""What a model file says of itself is foreign input: it is right, or a model error; never a defect."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kdtool.core.errors import ModelFileError
from kdtool.core.modelinfo import METADATA_KEY, ModelInfo
from kdtool.core.preprocess import SIDE_LIMIT, Preprocess

PATH = Path("m.onnx")
INFO = ModelInfo(
    "student", "resnet18", ("cat", "dog"), Preprocess(40, 32, "bicubic", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)),
    "int8", 0.1, 11, 22, "ab", {"torch": "2.10"}, {"target": "x86"},
)  # fmt: skip


def read(text: str) -> ModelInfo | None:
    return ModelInfo.from_metadata({METADATA_KEY: text}, PATH)


def changed(**fields: Any) -> str:
    content = json.loads(INFO.to_metadata()[METADATA_KEY])
    for key, value in fields.items():
        place = content["preprocess"] if key in content["preprocess"] else content
        place[key] = value
    return json.dumps(content)


def test_there_and_back() -> None:
    assert ModelInfo.from_metadata(INFO.to_metadata(), PATH) == INFO
    assert ModelInfo.from_metadata({"author": "someone"}, PATH) is None
    assert read(changed(energy="unknown keys are left to later versions")) == INFO


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("role", ["student"]), ("role", 1), ("role", None), ("arch", {}), ("precision", 8),
        ("classes", "cat"), ("classes", [1, 2]), ("classes", {"cat": 0}),
        ("params", "many"), ("params", 1.5), ("params", -1), ("macs", -1), ("macs", 1 << 63),
        ("label_smoothing", 1.0), ("label_smoothing", -0.1), ("versions", []), ("notes", {"target": 1}),
        ("preprocess", []), ("resize", 0), ("resize", 1.5), ("resize", "40"), ("resize", SIDE_LIMIT + 1),
        ("size", 0), ("size", -3), ("size", 41), ("size", 10**6), ("interpolation", "box"),
        ("mean", [0.1]), ("mean", [1e300] * 3), ("mean", ["a", 0, 0]),
        ("std", [0.0, 1, 1]), ("std", [1, -1, 1]), ("std", [1e-40] * 3), ("std", [1e300] * 3), ("std", None),
    ],
)  # fmt: skip
def test_a_wrong_field_is_a_model_error_that_names_it(field: str, value: Any) -> None:
    with pytest.raises(ModelFileError, match=rf"m\.onnx: its kdtool metadata cannot be read.*{field}"):
        read(changed(**{field: value}))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400", "9" * 5000])
@pytest.mark.parametrize("field", ["resize", "mean", "std", "macs", "label_smoothing"])
def test_numbers_that_are_none(field: str, number: str) -> None:
    marked = changed(**{field: ["here", 1.0, 1.0] if field in ("mean", "std") else "here"})
    with pytest.raises(ModelFileError, match="cannot be read"):
        read(marked.replace('"here"', number))


@pytest.mark.parametrize(
    "text",
    ["", "{", "null", "[]", "[" * 100_000, '{"schema": 1}', '{"schema": 9}', '{"schema": [[]]}'],
    ids=range(8),
)
def test_what_is_no_record(text: str) -> None:
    with pytest.raises(ModelFileError, match="metadata cannot be read"):
        read(text)


def test_deep_notes_are_refused() -> None:
    deep = changed(notes="here").replace('"here"', '{"a":' * 50_000 + "1" + "}" * 50_000)
    with pytest.raises(ModelFileError, match="nested too deeply"):
        read(deep)
