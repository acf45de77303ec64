"""Runs with a trained teacher: a CNN or a transformer."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.students import CNN, VIT
from kdtool.core.screen import QUIET
from kdtool.data.reader import Prepared
from kdtool.recipe.settings import TeacherSettings
from kdtool.runs.folder import RunFolder
from kdtool.train.teaching.teacher import teach


def taught(folder: Path, prepared: Prepared, arch: str, epochs: int, lr: float) -> RunFolder:
    run = RunFolder(folder)
    settings = TeacherSettings(arch=arch, weights="none", epochs=epochs, lr=lr, batch_size=16)
    teach(run, prepared, settings, 0, QUIET)
    return run


@pytest.fixture
def run(tmp_path: Path, prepared: Prepared) -> RunFolder:
    """Run whose teacher is a CNN."""
    return taught(tmp_path / "run", prepared, CNN, 2, 1e-2)


@pytest.fixture
def transformer(tmp_path: Path, prepared: Prepared) -> RunFolder:
    """Run whose teacher is a transformer."""
    return taught(tmp_path / "transformer", prepared, VIT, 1, 1e-3)
