"""Whole photographs: views are cut from them, at any size the same cut."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kdtool import pipeline
from kdtool.core.screen import QUIET
from kdtool.data.pixels.whole import LONGEST, Bounded, whole_side
from kdtool.train.views.augment import Augment

SIZE, TEACHERS_SIZE = 32, 56


def _photographs(root: Path) -> Path:
    """Colour gradients that are wider than high, two classes."""
    for split, count in (("train", 4), ("validation", 2), ("test", 2)):
        for label, channel in (("a", 0), ("b", 1)):
            for number in range(count):
                row = np.linspace(0, 255, 160, dtype=np.uint8)
                pixels = np.full((90, 160, 3), 20 * number, np.uint8)
                pixels[:, :, channel] = row
                pixels[0, 0] = len(split), number, channel  # no two photographs are equal
                folder = root / split / label
                folder.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return root


def _prepared(tmp_path: Path, cache: str):
    source = tmp_path / "photographs"
    if not source.exists():
        _photographs(source)
    changes = [
        f"data.size={SIZE}",
        f"data.cache={cache}",
        f"teacher.size={TEACHERS_SIZE}",
        "teacher.weights=none",
        "student.augment.crop=0.4",
        "student.augment.flip=true",
    ]
    return pipeline.prepare(pipeline.start(str(source), tmp_path / cache, "paper", changes, 0, QUIET))


def test_a_photograph_is_shrunk_and_never_enlarged() -> None:
    assert Bounded(48).pixels(Image.new("RGB", (160, 90))).shape == (48, 85, 3)
    assert Bounded(200).pixels(Image.new("RGB", (160, 90))).shape == (90, 160, 3)
    assert Bounded(48).pixels(Image.new("RGB", (1000, 50))).shape == (48, 48 * LONGEST, 3)


@pytest.mark.parametrize("cache", ["memory", "disk", "none"])
def test_whole_photographs_are_the_same_wherever_they_are_kept(tmp_path: Path, cache: str) -> None:
    whole = _prepared(tmp_path, cache).split("train").whole
    reference = _prepared(tmp_path, "disk").split("train").whole
    assert whole is not None
    assert reference is not None
    assert whole.digest == reference.digest
    side = whole_side(SIZE, TEACHERS_SIZE)
    for number in range(8):
        assert whole.images[number].shape[0] == side
        assert whole.images[number].shape[1] > side
        np.testing.assert_array_equal(whole.images[number], reference.images[number])
    assert (tmp_path / cache / "data" / "whole" / "pixels.bin").exists() == (cache != "none")


def test_the_teacher_sees_the_same_cut_at_its_own_size(tmp_path: Path) -> None:
    prepared = _prepared(tmp_path, "disk")
    assert prepared.for_teacher.preprocess.size == TEACHERS_SIZE
    assert prepared.for_teacher.split("validation").paths == prepared.split("validation").paths
    settings = {"crop": 0.4, "flip": True, "cutmix": 1.0}
    indices = np.arange(8)
    small, large = (
        Augment(data.split("train"), 0, **settings).view(indices, 3)
        for data in (prepared, prepared.for_teacher)
    )
    assert small.pixels.shape[1:3] == (SIZE, SIZE)
    assert large.pixels.shape[1:3] == (TEACHERS_SIZE, TEACHERS_SIZE)
    np.testing.assert_array_equal(small.target, large.target)
    np.testing.assert_allclose(small.share, large.share, atol=2 / SIZE)
    for one, other in zip(small.pixels.numpy(), large.pixels.numpy(), strict=True):
        shrunk = np.asarray(Image.fromarray(other).resize((SIZE, SIZE), Image.Resampling.BOX), np.float64)
        assert np.abs(shrunk - one).mean() < 8


def test_views_reach_beyond_the_prepared_centre(tmp_path: Path) -> None:
    """The gradient of a photograph runs over its whole width; the centre has only the middle of it."""
    prepared = _prepared(tmp_path, "disk")
    train = prepared.split("train")
    views = [Augment(train, 0, crop=0.4).view(np.arange(4), number).pixels.numpy() for number in range(30)]
    assert np.stack(views)[..., 0].max() > train.images[:4][..., 0].max() + 10
