"""`kdtool data check`, through the command line's entry point."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from kdtool.cli import main
from kdtool.core.screen import QUIET
from kdtool.data import scan as scan_module
from kdtool.data.prepare import prepare
from kdtool.data.scan import scan
from kdtool.recipe.settings import DataSettings

Photos = Callable[..., Path]
SPLITS = {"train": 4, "validation": 2, "test": 2}


def check(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main(["data", "check", *arguments])
    captured = capsys.readouterr()
    return int(stop.value.code or 0), captured.out, captured.err


def test_a_good_folder(photos: Photos, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = check(capsys, str(photos(splits=SPLITS)))
    assert code == 0
    lines = [line.split() for line in out.splitlines()]
    assert ["class", "train", "validation", "test"] in lines
    assert ["rings", "4", "2", "2"] in lines
    assert ["total", "12", "6", "6"] in lines
    assert "Shortest side: 24, 24, 24 pixels (smallest, median, largest)" in out
    assert "Modes: 24 × RGB" in out
    assert out.endswith("No findings.\n")


def test_findings_are_on_standard_output_and_the_exit_code_is_3(
    photos: Photos, capsys: pytest.CaptureFixture[str]
) -> None:
    root = photos(splits=SPLITS)
    (root / "train" / "rings" / "000.png").write_bytes(b"")
    shutil.copy(root / "train" / "rings" / "001.png", root / "test" / "rings" / "x.png")
    code, out, err = check(capsys, str(root))
    assert code == 3
    assert "train/rings/000.png: the file is empty (0 bytes)." in out
    assert "train/rings/001.png (train)" in out
    assert "2 finding(s) stand in the way of training" in err


def test_json(photos: Photos, capsys: pytest.CaptureFixture[str]) -> None:
    root = photos()
    (root / "rings" / "000.png").write_bytes(b"")
    code, out, _ = check(capsys, str(root), "--json")
    assert code == 3
    content = json.loads(out)
    assert content["counts"]["train"] == {"checks": 4, "rings": 3, "stripes": 4}
    assert content["findings"] == [
        {
            "kind": "unreadable",
            "text": "rings/000.png: the file is empty (0 bytes).",
            "paths": ["rings/000.png"],
            "fatal": True,
        }
    ]


def test_skip_bad_and_set_are_honoured(photos: Photos, capsys: pytest.CaptureFixture[str]) -> None:
    root = photos(splits=SPLITS)
    (root / "train" / "rings" / "000.png").write_bytes(b"")
    shutil.copy(root / "train" / "rings" / "001.png", root / "test" / "rings" / "x.png")
    code, out, _ = check(capsys, str(root), "--skip-bad", "--set", "data.allow_leaks=true")
    assert code == 0
    assert "Left out: 1" in out
    assert "The same image in two splits (1)" in out


def test_the_seed_and_the_fractions_are_honoured(photos: Photos, capsys: pytest.CaptureFixture[str]) -> None:
    root = str(photos(per_class=10))
    assert ["rings", "6", "2", "2"] in [line.split() for line in check(capsys, root)[1].splitlines()]
    changed = check(capsys, root, "--set", "data.test_fraction=0.5", "--seed", "3")[1]
    assert ["rings", "3", "2", "5"] in [line.split() for line in changed.splitlines()]


def test_nothing_readable_at_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = check(capsys, str(tmp_path))
    assert code == 3
    assert "train has no class folder" in out


def test_no_such_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = check(capsys, str(tmp_path / "missing"))
    assert code == 2
    assert "no such folder" in err


def test_a_name_cannot_steer_the_terminal(photos: Photos, capsys: pytest.CaptureFixture[str]) -> None:
    root = photos(classes=("plain", "\x1b[31mred"), splits=SPLITS)
    next((root / "train").glob("*red/000.png")).write_bytes(b"")
    code, out, err = check(capsys, str(root))
    assert code == 3
    assert "\x1b" not in out + err
    assert "train/\\x1b[31mred/000.png: the file is empty" in out


def test_without_a_seed_the_split_is_that_of_prepare(photos: Photos, tmp_path: Path) -> None:
    root, scans = str(photos(per_class=10)), []
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(scan_module, "scan", lambda *a: scans.append(scan(*a)) or scans[-1])
        main(["data", "check", root, "--set", "data.size=8"])
    prepared, _ = prepare(root, DataSettings(size=8), 0, tmp_path / "out", QUIET)
    checked = {
        photo.sample.path: split for photo, split in zip(scans[0].photos, scans[0].splits, strict=True)
    }
    assert checked == {path: name for name in SPLITS for path in prepared.split(name).paths}


def test_help_says_the_seed(capsys: pytest.CaptureFixture[str]) -> None:
    assert "default: 0" in check(capsys, "--help")[1]


def test_the_hint_fits_the_findings(photos: Photos, capsys: pytest.CaptureFixture[str]) -> None:
    root = photos(splits=SPLITS)
    shutil.copy(root / "train" / "rings" / "001.png", root / "test" / "rings" / "x.png")
    code, _, err = check(capsys, str(root))
    assert code == 3
    assert "--allow-leaks" in err and "--skip-bad" not in err
    assert check(capsys, str(root), "--allow-leaks")[0] == 0
    shutil.rmtree(root / "test" / "rings")
    code, _, err = check(capsys, str(root))
    assert "the same classes" in err and "--allow-leaks" not in err


@pytest.mark.parametrize("option", ["--json", "--skip-bad"])
def test_names_that_are_not_utf8(photos: Photos, capsys: pytest.CaptureFixture[str], option: str) -> None:
    root = photos(splits=SPLITS)
    for name in (b"x.caf\xe9", b"caf\xe9.png"):
        Path(os.fsdecode(os.fsencode(root / "train" / "rings") + b"/" + name)).write_bytes(b"")
    code, out, _ = check(capsys, str(root), option)
    assert code == (3 if option == "--json" else 0)
    assert "caf\\xe9" in out.replace("\\\\", "\\")  # JSON doubles it
    out.encode()
