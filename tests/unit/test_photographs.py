"""Training pictures that are not kept decoded: the same pixels, never another photograph's."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fixtures.screens import Recorder
from kdtool.core.errors import DataError
from kdtool.core.preprocess import Preprocess
from kdtool.core.screen import QUIET
from kdtool.data import prepare as prepare_module
from kdtool.data.pixels.photographs import Photographs
from kdtool.data.prepare import prepare
from kdtool.data.reader import Prepared, Split, open_prepared
from kdtool.quant.images import CalibrationImages
from kdtool.recipe.settings import AugmentSettings, DataSettings
from kdtool.train.stage import augment_of
from kdtool.train.views.batch import Examples

Photos = Callable[..., Path]
SPLITS = {"train": 4, "validation": 2, "test": 2}
CPU = torch.device("cpu")


def made(source: Path | None, folder: Path, cache: str, size: int = 16) -> tuple[Prepared, bool]:
    settings = DataSettings.model_validate({"size": size, "cache": cache})
    return prepare(source and str(source), settings, 0, folder, QUIET)


@pytest.fixture
def both(photos: Photos, tmp_path: Path) -> tuple[Split, Split]:
    """Train, kept on the disk and decoded when asked for."""
    root = photos(splits=SPLITS)
    kept, apart = (made(root, tmp_path / cache, cache)[0].split("train") for cache in ("disk", "none"))
    return kept, apart


def test_the_same_pixels_and_digest_with_no_file_of_them(photos: Photos, tmp_path: Path) -> None:
    root = photos(per_class=12)  # flat: the splits are carved
    kept, apart = (made(root, tmp_path / cache, cache)[0] for cache in ("disk", "none"))
    assert (apart.digest, apart.preprocess, apart.counts) == (kept.digest, kept.preprocess, kept.counts)
    assert not (tmp_path / "none" / "train.npy").exists()
    assert open_prepared(tmp_path / "none") == apart
    for name in ("train", "validation", "test"):
        one, other = kept.split(name), apart.split(name)
        np.testing.assert_array_equal(one.images[:], other.images[:])
        assert (one.paths, one.hashes, one.labels.tolist()) == (
            other.paths,
            other.hashes,
            other.labels.tolist(),
        )
    assert isinstance(apart.split("train").images, Photographs)


@pytest.mark.parametrize(
    "wanted", [3, np.int64(3), slice(2, 5), slice(None), np.array([5]), np.array([4, 1, 4]), np.array([-1])]
)
def test_asked_like_an_array(both: tuple[Split, Split], wanted: int) -> None:
    kept, apart = (split.images for split in both)
    assert apart.shape == kept.shape and len(apart) == len(kept)
    np.testing.assert_array_equal(apart[wanted], kept[wanted])


@pytest.mark.parametrize(
    "fields", [{}, {"crop": 0.4, "flip": True, "randaugment": 2, "mixup": 1.0, "cutmix": 1.0}]
)
def test_batches_are_the_same_expected_or_not(both: tuple[Split, Split], fields: dict[str, float]) -> None:
    settings = AugmentSettings.model_validate(fields)
    indices = np.array([7, 0, 3, 11])
    batches = []
    for split in (*both, both[1]):
        examples = Examples(split, 3, Preprocess(16, 16), augment_of(settings, split, 5), views=4)
        if split is both[1] and len(batches) == 2:
            examples.expect(indices, 1)
        batches.append(examples.batch(indices, 1, CPU))
    for batch in batches[1:]:
        np.testing.assert_array_equal(batch.pixels, batches[0].pixels)
        assert torch.equal(batch.labels, batches[0].labels)


def test_calibration_sees_the_same(both: tuple[Split, Split]) -> None:
    chosen = np.array([1, 5, 8])
    one, other = (CalibrationImages(split.images, chosen, Preprocess(16, 16)) for split in both)
    np.testing.assert_array_equal(np.concatenate(list(one)), np.concatenate(list(other)))
    np.testing.assert_array_equal(one.evenly(2), other.evenly(2))


def test_what_is_expected_is_decoded_once(both: tuple[Split, Split]) -> None:
    reads: list[int] = []
    images = both[1].images
    assert isinstance(images, Photographs)

    def counting(number: int) -> Callable[[], bytes]:
        return lambda: (reads.append(number), images.reads[number]())[1]

    counted = replace(images, reads=[counting(number) for number in range(len(images))], _under_way={})
    counted.expect([2, 4])
    np.testing.assert_array_equal(counted[np.array([4, 2, 6])], both[0].images[[4, 2, 6]])
    assert sorted(reads) == [2, 4, 6]


@pytest.mark.parametrize("change", ["other", "gone"])
def test_a_photograph_that_changed_is_never_trained_on(photos: Photos, tmp_path: Path, change: str) -> None:
    root = photos(splits=SPLITS)
    split = made(root, tmp_path / "out", "none")[0].split("train")
    path = root / split.paths[5]
    if change == "other":
        shutil.copy(root / split.paths[0], path)
    else:
        path.unlink()
    np.testing.assert_array_equal(split.images[4].shape, (16, 16, 3))
    with pytest.raises(
        DataError, match=rf"{split.paths[5]}: (changed|cannot be read any more).*\n.*training command"
    ):
        split.images[5]


def test_photographs_that_moved_are_named(photos: Photos, tmp_path: Path) -> None:
    root = photos(splits=SPLITS)
    prepared, _ = made(root, tmp_path / "out", "none")
    root.rename(tmp_path / "elsewhere")
    with pytest.raises(
        DataError, match=rf"(?s)photographs of {root} are decoded.*cannot be found.*--cache disk"
    ):
        prepared.split("train")
    assert len(prepared.split("validation").labels) == 6
    again, skipped = made(tmp_path / "elsewhere", tmp_path / "out", "auto")
    assert skipped and len(again.split("train").images[:]) == 12


def test_what_stands_is_taken_unless_it_must_be_kept(photos: Photos, tmp_path: Path) -> None:
    root, folder = photos(splits=SPLITS), tmp_path / "out"
    before, _ = made(root, folder, "none")
    assert made(root, folder, "auto") == (before, True)
    kept, skipped = made(root, folder, "memory")
    assert not skipped and kept.digest == before.digest and (folder / "train.npy").is_file()
    for cache in ("disk", "auto"):
        assert made(root, folder, cache) == (kept, True)
    screen = Recorder()
    assert prepare(str(root), DataSettings(size=16, cache="none"), 0, folder, screen) == (kept, True)
    assert "are used" in screen.said[-1]


def test_auto_decodes_anew_where_the_disk_is_too_small(
    photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, screen = photos(splits=SPLITS), Recorder()
    needed = 2 * 24 * 16 * 16 * 3
    for free, kept in ((needed / 0.8 + 1, True), (needed / 0.8 - 1, False)):
        monkeypatch.setattr(
            prepare_module.shutil, "disk_usage", lambda _, free=free: SimpleNamespace(free=free)
        )
        folder = tmp_path / str(kept)
        prepare(str(root), DataSettings(size=16), 0, folder, screen)
        assert (folder / "train.npy").exists() == kept
    assert any("(--cache none)" in line for line in screen.said)


def test_in_memory_nothing_is_read_again(photos: Photos, tmp_path: Path) -> None:
    prepared, _ = made(photos(splits=SPLITS), tmp_path / "out", "memory")
    split = replace(prepared, in_memory=True).split("train")
    pixels = np.array(split.images[:])
    (tmp_path / "out" / "train.npy").write_bytes(b"")
    np.testing.assert_array_equal(split.images[:], pixels)


def test_the_digits_too(tmp_path: Path) -> None:
    kept, apart = (made(None, tmp_path / cache, cache, size=8)[0] for cache in ("disk", "none"))
    np.testing.assert_array_equal(apart.split("train").images[:9], kept.split("train").images[:9])
