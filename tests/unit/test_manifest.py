"""Manifests: written last, believed only where every field is what it must be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kdtool.runs.stage import Stage, read_manifest


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    (tmp_path / "a.txt").write_text("a")
    made = Stage("bench", tmp_path, {"settings": {"runs": 100, "share": 0.5}, "data": None})
    made.seal(["a.txt"], {"verdict": "PASS"}, {"numpy": "2.0"})
    return made


def test_a_sealed_stage_is_complete_until_a_file_or_an_input_changes(stage: Stage) -> None:
    manifest = stage.complete()
    assert manifest is not None
    assert manifest == read_manifest(stage.manifest_path)
    assert (manifest.inputs, manifest.result) == (stage.inputs, {"verdict": "PASS"})
    assert Stage("bench", stage.folder, {"settings": {}}).complete() is None
    assert Stage("report", stage.folder, stage.inputs).complete() is None
    (stage.folder / "a.txt").write_text("b")
    assert stage.complete() is None


def test_a_reopened_stage_is_not_complete(stage: Stage) -> None:
    stage.reopen()
    stage.reopen()
    assert stage.complete() is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("schema", 2), ("stage", 1), ("stage", ["bench"]), ("inputs", "text"), ("inputs", None),
        ("files", ["a.txt"]), ("files", {"a.txt": 1}), ("files", {"a.txt": None}), ("files", "a.txt"),
        ("result", []), ("versions", {"numpy": 2}),
    ],
)  # fmt: skip
def test_a_manifest_of_wrong_types_is_none(stage: Stage, field: str, value: Any) -> None:
    content = json.loads(stage.manifest_path.read_text())
    stage.manifest_path.write_text(json.dumps(content | {field: value}))
    assert read_manifest(stage.manifest_path) is None
    assert stage.complete() is None


@pytest.mark.parametrize("text", ["", "{", "null", "[]", "[" * 100_000, "\x00"], ids=range(6))
def test_what_is_no_manifest_is_none(stage: Stage, text: str) -> None:
    stage.manifest_path.write_text(text)
    assert stage.complete() is None
