"""Fixtures that several test modules share: a tiny data set that a network can learn, and it prepared."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest
from hypothesis import settings

from fixtures.images import PATTERNS, SPLITS, pattern, write_photographs
from kdtool.core.screen import QUIET
from kdtool.data.prepare import prepare
from kdtool.data.reader import Prepared
from kdtool.recipe.settings import DataSettings

TESTS = Path(__file__).parent

settings.register_profile("kdtool", deadline=None)  # no test is a matter of time
settings.load_profile("kdtool")


# What the tests of a file, or of every file below a folder, need; a browser is told by the fixture.
MARKS = {
    "campaigns/": "train",
    "contract/test_export_archs.py": "slow",
    "contract/test_export_recipes.py": "slow",
    "integration/bundled/test_agreement_benchmark.py": "browser",
    "integration/distilled/": "train",
    "integration/exported/": "train",
    "integration/test_answers.py": "train",
    "integration/test_cache.py": "train",
    "integration/test_commands.py": "train",
    "integration/test_compare.py": "train",
    "integration/test_compile.py": "train",
    "integration/test_distill.py": "train",
    "integration/test_examples.py": "train",
    "integration/test_face.py": "train",
    "integration/test_health_gate.py": "train",
    "integration/test_memory.py": "train",
    "integration/test_processes.py": "train",
    "integration/test_training.py": "train",
    "integration/test_probe_command.py": "train",
    "integration/test_tutorial.py": "train",
    "integration/test_unlabelled.py": "train",
    "packaging/test_wheel.py": "slow",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        place = item.path.relative_to(TESTS).as_posix()
        for start, mark in MARKS.items():
            if place.startswith(start):
                item.add_marker(mark)
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Let a test that trains in this process fail if it has no mark `train`: `make quick` would train."""
    with pytest.MonkeyPatch.context() as patch:
        if "torch" in sys.modules and item.get_closest_marker("train") is None:
            patch.setattr("kdtool.train.loop.fit.build_optimizer", _refuse_training)
        return (yield)


def _refuse_training(*_: object) -> None:
    pytest.fail("This test trains: give it the mark train (MARKS in tests/conftest.py).")


@pytest.fixture
def photos(tmp_path: Path) -> Callable[..., Path]:
    """Writes a data set and gives its folder: photos(classes, per_class, splits, side, name).

    `splits` maps the folder of a split to its pictures per class; without it the folder is flat.
    """

    def write(
        classes: Sequence[str] = PATTERNS,
        per_class: int = 6,
        splits: dict[str, int] | None = None,
        side: int = 24,
        name: str = "photos",
    ) -> Path:
        counts = splits or {"": per_class}
        return write_photographs(
            tmp_path / name, classes, counts, partial(pattern, side=side), name="{:03d}.png"
        )

    return write


@pytest.fixture
def source(photos: Callable[..., Path]) -> Path:
    """Three classes, 8 training, 4 validation and 4 test pictures each."""
    return photos(splits=SPLITS)


@pytest.fixture
def prepared(source: Path, tmp_path: Path) -> Prepared:
    """`source` at 32 × 32."""
    result, _ = prepare(str(source), DataSettings(size=32), 0, tmp_path / "prepared", QUIET)
    return result
