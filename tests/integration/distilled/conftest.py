"""Runs whose teacher is trained: a CNN, a transformer."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdtool.core.recipe import TeacherSettings
from kdtool.core.run import RunFolder
from kdtool.core.screen import QUIET
from kdtool.data.reader import Prepared
from kdtool.train.teacher import teach
from pupils import CNN, VIT


@pytest.fixture
def run(tmp_path: Path, prepared: Prepared) -> RunFolder:
    """A run with a CNN for a teacher."""
    folder = RunFolder(tmp_path / "run")
    teach(
        folder,
        prepared,
        TeacherSettings(arch=CNN, weights="none", epochs=2, lr=1e-2, batch_size=16),
        0,
        QUIET,
    )
    return folder


@pytest.fixture
def transformer(tmp_path: Path, prepared: Prepared) -> RunFolder:
    """A run with a transformer for a teacher."""
    folder = RunFolder(tmp_path / "transformer")
    teach(
        folder,
        prepared,
        TeacherSettings(arch=VIT, weights="none", epochs=1, lr=1e-3, batch_size=16),
        0,
        QUIET,
    )
    return folder
