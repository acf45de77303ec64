"""Fixtures that several test modules share: a tiny data set that a network can learn, and it prepared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest
from hypothesis import settings

from fixtures.images import PATTERNS, SPLITS, pattern, write_photographs
from kdtool.core.screen import QUIET
from kdtool.data.prepare import prepare
from kdtool.data.reader import Prepared
from kdtool.recipe.settings import DataSettings

settings.register_profile("kdtool", deadline=None)  # no test is a matter of time
settings.load_profile("kdtool")


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
