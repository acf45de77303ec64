"""docs/architecture.md: its picture is that of the imports, and every path it names exists.

After a change: make docs
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "toolchain" / "kdtool"
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
FOLDERS = sorted(path.parent.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("__init__.py"))
WIDEST = 12  # modules side by side
TABLES = ("cli", "losses")  # a module each of many like things


@pytest.fixture(scope="module")
def command() -> ModuleType:
    spec = importlib.util.spec_from_file_location("architecture", ROOT / "docs" / "architecture.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_command_writes(command: ModuleType) -> None:
    assert command.page() == PAGE, "outdated: make docs"


def test_an_arrow_that_a_longer_way_implies_is_left_out(command: ModuleType) -> None:
    edges = {"a": {"b", "c", "d"}, "b": {"c"}, "c": {"d"}, "d": set()}
    assert command.reduced(edges) == {"a": {"b"}, "b": {"c"}, "c": {"d"}, "d": set()}


PATHS = sorted({path for path in re.findall(r"`([\w./]+(?::\w+)?)`", PAGE) if re.search(r"/|\.py", path)})


@pytest.mark.parametrize("path", [path for path in PATHS if "NAME" not in path])
def test_what_the_page_names_exists(path: str) -> None:
    file, _, name = path.partition(":")
    place = PACKAGE / file if (PACKAGE / file).exists() else ROOT / file
    assert place.exists(), f"no {file}"
    assert not name or re.search(rf"^(class )?{name}\b", place.read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_says_in_a_sentence_what_it_holds(folder: str, command: ModuleType) -> None:
    assert re.fullmatch(r"[`A-Zk].{10,}[^.]\.", command.sentence(folder)), command.sentence(folder)


@pytest.mark.parametrize("folder", [folder for folder in FOLDERS if folder not in TABLES])
def test_no_folder_is_a_drawer(folder: str, command: ModuleType) -> None:
    assert command.modules(folder) <= WIDEST
