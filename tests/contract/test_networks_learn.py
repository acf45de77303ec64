"""Every network that the documents advise learns from scratch: validation follows training."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.images import coloured, write_photographs
from kdtool.core.screen import QUIET
from kdtool.data.prepare import prepare
from kdtool.data.reader import Prepared
from kdtool.recipe.settings import DataSettings, StudentSettings
from kdtool.recipe.students import STUDENTS
from kdtool.results.history import read_history
from kdtool.train.student import train_baseline

SLOW_STATISTICS = ("mobilenet_v3_small", "mnasnet0_5", "mobilenet_v3_large")  # momentum 0.01 and less
SMALL = [candidate.arch for candidate in STUDENTS if candidate.macs < 0.5e9]  # the others take too long
NETWORKS = sorted({*SMALL, *SLOW_STATISTICS})


@pytest.fixture(scope="module")
def easy(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """90 photographs of three colours, and 45 to validate."""
    root = tmp_path_factory.mktemp("easy")
    write_photographs(
        root / "photos",
        ("blue", "green", "red"),
        {"train": 30, "validation": 15, "test": 1},
        lambda label, seed: coloured(label, [label, seed], 32, 32),
    )
    return prepare(str(root / "photos"), DataSettings(size=32), 0, root / "data", QUIET)[0]


@pytest.mark.train
@pytest.mark.slow
@pytest.mark.parametrize("arch", NETWORKS)
def test_validation_follows_training(arch: str, easy: Prepared, tmp_path: Path) -> None:
    settings = StudentSettings(arch=arch, epochs=6, patience=0, lr=1e-3, batch_size=10)
    manifest = train_baseline(tmp_path / "network", easy, settings, 0, QUIET)
    history = read_history(tmp_path / "network" / "history.csv")
    assert "fault" not in manifest.result, manifest.result["fault"]
    assert max(history.train_accuracy) > 0.5, "the photographs are easy"
    assert history.validation_accuracy[history.best] > max(history.train_accuracy) - 0.25
