"""Fixtures that several test modules share: a tiny data set that a network can learn, and it prepared."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

from kdtool.core.screen import QUIET
from kdtool.data.prepare import prepare
from kdtool.data.reader import Prepared
from kdtool.recipe.settings import DataSettings

settings.register_profile("kdtool", deadline=None)  # no test is a matter of time
settings.load_profile("kdtool")

CLASSES = ("checks", "rings", "stripes")


def draw(label: int, seed: int, side: int = 24) -> Image.Image:
    """A coloured pattern of class `label` with noise; equal arguments give equal pictures."""
    generator = np.random.default_rng([label, seed])
    y, x = np.mgrid[0:side, 0:side] + generator.integers(0, 4)
    pattern = ((x // 4 + y // 4) % 2, np.hypot(x - side / 2, y - side / 2) // 3 % 2, x // 4 % 2, y // 4 % 2)[
        label % 4
    ]
    colour = np.eye(3)[label % 3] * 140 + 60
    noise = generator.normal(0, 20, (side, side, 3))
    pixels = pattern[..., None] * colour + noise + 30
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


@pytest.fixture
def photos(tmp_path: Path) -> Callable[..., Path]:
    """Writes a data set and gives its folder: photos(classes, per_class, splits, side, name).

    `splits` maps the folder of a split to its pictures per class; without it the folder is flat.
    """

    def write(
        classes: Iterable[str] = CLASSES,
        per_class: int = 6,
        splits: dict[str, int] | None = None,
        side: int = 24,
        name: str = "photos",
    ) -> Path:
        root = tmp_path / name
        for part, (split, count) in enumerate((splits or {"": per_class}).items()):
            for label, class_name in enumerate(classes):
                folder = root / split / class_name
                folder.mkdir(parents=True)
                for index in range(count):
                    draw(label, 1000 * part + index, side).save(folder / f"{index:03d}.png")
        return root

    return write


@pytest.fixture
def prepared(photos: Callable[..., Path], tmp_path: Path) -> Prepared:
    """Three classes, 8 training, 4 validation and 4 test pictures each, at 32 × 32."""
    source = photos(splits={"train": 8, "validation": 4, "test": 4})
    result, _ = prepare(str(source), DataSettings(size=32), 0, tmp_path / "prepared", QUIET)
    return result
