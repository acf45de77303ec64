"""CSV and JSON-lines manifests; a wrong line is named."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from kdtool.core.errors import DataError
from kdtool.data.findings.finding import SHOWN
from kdtool.data.sources import load_listing

ROWS = [("a/1.png", "cat", "train"), ("b,\u2028c/2.png", "dog", "val"), ("3.png", "cat", "TEST")]


def write(folder: Path, text: str, name: str = "list.csv") -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


def as_jsonl(rows: list[tuple[str, ...]]) -> str:
    return "".join(
        json.dumps(dict(zip(("path", "label", "split"), row, strict=False))) + "\n\n" for row in rows
    )


def as_csv(rows: list[tuple[str, ...]]) -> str:
    header = ",".join(("path", "label", "split")[: len(rows[0])])
    return "\r\n".join([header, *(",".join(f'"{value}"' for value in row) for row in rows)])


@pytest.mark.parametrize(("form", "name"), [(as_csv, "list.csv"), (as_jsonl, "list.JSONL")])
def test_paths_labels_and_splits(tmp_path: Path, form: object, name: str) -> None:
    listing = load_listing(write(tmp_path, "\ufeff" + form(ROWS), name))
    got = [(s.path, s.label, s.split) for s in listing.samples]
    assert got == [
        ("a/1.png", "cat", "train"),
        ("b,\u2028c/2.png", "dog", "validation"),
        ("3.png", "cat", "test"),
    ]
    assert listing.classes_by_split == {"train": ("cat",), "validation": ("dog",), "test": ("cat",)}
    assert listing.carve == ()
    (tmp_path / "3.png").write_bytes(b"bytes")
    assert listing.samples[2].read() == b"bytes"


@pytest.mark.parametrize(("form", "name"), [(as_csv, "list.csv"), (as_jsonl, "list.jsonl")])
def test_without_splits_they_are_carved(tmp_path: Path, form: object, name: str) -> None:
    listing = load_listing(write(tmp_path, form([row[:2] for row in ROWS]), name))
    assert listing.carve == ("validation", "test")
    assert listing.classes == ("cat", "dog")


def test_a_label_may_be_a_number_in_json(tmp_path: Path) -> None:
    listing = load_listing(write(tmp_path, '{"path": "x", "label": 0}\n{"path": "y", "label": 1}', "l.jsonl"))
    assert listing.classes == ("0", "1")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("l.csv", "file,label\nx,y", "line 1: the field 'path' is missing"),
        ("l.csv", "", "line 1: the field 'path' is missing"),
        ("l.csv", "path,label,weight\nx,y,1", "line 1: the field 'weight' is unknown; allowed are path"),
        ("l.csv", "path,label\nx,y\nx,y,z", "line 3: more fields than the header"),
        ("l.csv", "path,label\nx", "line 2: the field 'label' is empty"),
        ("l.csv", "path,label\nx,\n,y", "line 3: the field 'path' is empty"),
        ("l.csv", "path,label,split\nx,y,eval", "line 2: split is 'eval'; allowed is one of train, training"),
        ("l.csv", "path,label,split\nx,y,train\nx,y,", "line 3: no split, but line 2 has one"),
        ("l.csv", 'path,label\n"x"z,y', "after line 1: not CSV"),
        ("l.jsonl", '{"path": "x", "label": "y"}\nnot json', "line 2: not JSON"),
        ("l.jsonl", "[1]", "line 1: not a JSON object"),
        ("l.jsonl", '{"path": "x"}', "line 1: the field 'label' is missing"),
        ("l.jsonl", '{"path": "x", "label": null}', "line 1: the field 'label' is empty"),
        ("l.jsonl", r'{"path": "x\u0000", "label": "y"}', "line 1: the field 'path' has a NUL or half"),
        ("l.csv", "path,label\nx\0,y", "line 2: the field 'path' has a NUL or half"),
        ("l.jsonl", r'{"path": "x\ud800", "label": "y"}', "line 1: the field 'path' has a NUL or half"),
        ("l.jsonl", r'{"path": "x", "label": "\udfff"}', "line 1: the field 'label' has a NUL or half"),
        ("l.jsonl", r'{"path": "x", "label": "y", "split": "\ud800"}', "line 1: the field 'split' has a"),
        ("l.jsonl", r'{"path": "x", "label": "y", "\u001b\ud800": 1}', r"field '\\x1b\\ud800' is unknown"),
        ("l.jsonl", '{"path": "x", "label": {}}', "line 1: the field 'label' is not text"),
        ("l.jsonl", '{"path": 1, "label": "y"}', "line 1: the field 'path' is not text"),
        ("l.jsonl", '{"path": "x", "label": "y", "split": [1]}', "line 1: the field 'split' is not text"),
        ("l.jsonl", "[" * 100_000, "line 1: not JSON .maximum recursion depth"),
        ("l.jsonl", '{"path": "x", "label": "y", "split": ' + "[" * 900 + "]" * 900 + "}", "line 1: "),
    ],
)  # fmt: skip
def test_wrong_lines_are_named(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load_listing(write(tmp_path, text, name))
    assert "path,label" in caught.value.hint


def test_all_wrong_lines_at_once(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        load_listing(write(tmp_path, "path,label\n" + "x,\n" * (SHOWN + 5)))
    assert "25 line(s) are wrong" in caught.value.message
    assert "… and 5 more" in caught.value.message


def test_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_bytes(b"path,label\ncaf\xe9,x")
    with pytest.raises(DataError, match=r"cannot be read .not UTF-8.") as caught:
        load_listing(str(tmp_path / "l.csv"))
    assert "path,label" in caught.value.hint


def test_a_pipe_is_no_picture(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.jpg")
    [sample] = load_listing(write(tmp_path, "path,label\nx.jpg,a")).samples
    with pytest.raises(OSError, match="not a regular file"):
        sample.read()
