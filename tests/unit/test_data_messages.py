"""Every error that kdtool.data raises says what to do next."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import kdtool.data

ERRORS = {"UsageError", "DataError", "SetupError", "LockedError"}
FILES = sorted(Path(kdtool.data.__path__[0]).rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_error_has_a_hint(path: Path) -> None:
    calls = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]
    without = [
        call.lineno
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id in ERRORS and len(call.args) < 2
    ]
    assert not without
