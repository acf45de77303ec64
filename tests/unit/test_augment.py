"""Views depend only on (seed, view, image), and the labels of a mixed image match its pixels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kdtool.core.preprocess import Preprocess
from kdtool.data.reader import Split
from kdtool.recipe.settings import AugmentSettings
from kdtool.train.views.augment import Augment, View, target_distribution
from kdtool.train.views.batch import to_input

SIDE, PICTURES, CLASSES = 16, 12, 3
EVERYTHING = {"crop": 0.3, "flip": True, "randaugment": 2, "mixup": 0.8, "cutmix": 1.0}


def a_split(flat: bool = False) -> Split:
    """Split of noise images, or of flat images whose grey is 100 · class, which shows the mix."""
    labels = np.arange(PICTURES) % CLASSES
    noise = np.random.default_rng(0).integers(0, 256, (PICTURES, SIDE, SIDE, 3)).astype(np.uint8)
    grey = np.broadcast_to((labels * 100)[:, None, None, None], noise.shape).astype(np.uint8)
    names = tuple(f"{index}.png" for index in range(PICTURES))
    return Split("train", grey if flat else noise, labels.astype(np.int64), names, names)


def views(settings: dict, split: Split, seed: int) -> Callable[[np.ndarray, int], View]:
    return Augment(split, seed, **settings).view


@given(
    st.lists(st.integers(0, PICTURES - 1), min_size=1, max_size=6),
    st.integers(0, 2**31),
    st.integers(0, 10_000),
)
def test_a_view_depends_on_nothing_but_seed_number_and_picture(
    indices: list[int], seed: int, number: int
) -> None:
    split = a_split()
    together = views(EVERYTHING, split, seed)(np.array(indices), number)
    torch.rand(3)  # something else draws in between
    for place, index in enumerate(indices):
        alone = views(EVERYTHING, split, seed)(np.array([index]), number)
        np.testing.assert_array_equal(alone.pixels[0], together.pixels[place])
        assert (alone.target[0], alone.second[0]) == (together.target[place], together.second[place])
        assert alone.share[0] == together.share[place]


def test_equal_pictures_are_not_changed_equally() -> None:
    split = a_split()
    equal = Split("train", split.images[[0] * PICTURES], split.labels, split.paths, split.hashes)
    pixels = Augment(equal, 0, crop=0.3).view(np.arange(PICTURES), 0).pixels
    assert len(np.unique(pixels, axis=0)) == PICTURES


def test_torchs_generator_is_left_as_it_was() -> None:
    before = torch.get_rng_state()
    views(EVERYTHING, a_split(), 0)(np.arange(PICTURES), 0)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("change", [{"seed": 1}, {"number": 1}])
def test_another_seed_or_number_is_another_view(change: dict[str, int]) -> None:
    def pixels(seed: int = 0, number: int = 0) -> np.ndarray:
        return views(EVERYTHING, a_split(), seed)(np.arange(PICTURES), number).pixels.numpy()

    differ = (pixels() != pixels(**change)).any(axis=(1, 2, 3))
    assert differ.all()


@pytest.mark.parametrize(
    "settings",
    [{"crop": 0.3}, {"flip": True}, {"randaugment": 2}, {"mixup": 0.8}, {"cutmix": 1.0}],
    ids=lambda settings: next(iter(settings)),
)
def test_each_setting_does_something(settings: dict) -> None:
    split = a_split()
    assert AugmentSettings(**settings).active
    view = views(settings, split, 0)(np.arange(PICTURES), 0)
    assert view.pixels.shape == split.images.shape
    assert view.pixels.dtype == torch.uint8
    assert (view.pixels.numpy() != split.images).any()


def test_without_augmentation_nothing_changes() -> None:
    split = a_split()
    assert not AugmentSettings().active
    view = views({}, split, 0)(np.arange(PICTURES), 5)
    np.testing.assert_array_equal(view.pixels, split.images)
    np.testing.assert_array_equal(view.target, split.labels)
    assert not view.share.any()


def test_a_flip_is_every_second_picture() -> None:
    split = a_split()
    flip = views({"flip": True}, split, 0)
    flips = [flip(np.arange(PICTURES), number).pixels.numpy() for number in range(40)]
    mirrored = np.mean([(view == split.images[:, :, ::-1]).all(axis=(1, 2, 3)) for view in flips])
    plain = np.mean([(view == split.images).all(axis=(1, 2, 3)) for view in flips])
    assert mirrored + plain == pytest.approx(1)
    assert 0.4 < mirrored < 0.6


@pytest.mark.parametrize("settings", [{"mixup": 1.0}, {"cutmix": 1.0}], ids=["mixup", "cutmix"])
def test_the_labels_of_a_mix_are_what_the_picture_shows(settings: dict) -> None:
    """Images are flat with grey 100 · class, so the mean grey must equal the mix of the labels."""
    split = a_split(flat=True)
    for number in range(10):
        view = views(settings, split, 3)(np.arange(PICTURES), number)
        distribution = target_distribution(view, CLASSES).numpy()
        np.testing.assert_allclose(distribution.sum(axis=1), 1, rtol=1e-6)
        stated = distribution @ (100 * np.arange(CLASSES))
        np.testing.assert_allclose(
            view.pixels.numpy().mean(axis=(1, 2, 3)), stated, atol=0.6
        )  # grey is rounded
        assert (view.share <= 0.5).all()
        np.testing.assert_array_equal(distribution[np.arange(PICTURES), view.target] >= 0.5 - 1e-6, True)


def test_a_mix_of_one_class_is_that_class() -> None:
    split = a_split()
    one = Split("train", split.images, np.zeros(PICTURES, np.int64), split.paths, split.hashes)
    view = views({"mixup": 1.0}, one, 0)(np.arange(PICTURES), 0)
    np.testing.assert_allclose(target_distribution(view, CLASSES)[:, 0], 1)


def test_both_mixes_occur_and_the_share_is_betas() -> None:
    split = a_split(flat=True)
    mixed = views({"mixup": 1.0, "cutmix": 1.0}, split, 0)
    seen = [mixed(np.arange(PICTURES), number) for number in range(60)]
    flat = np.concatenate([view.pixels.numpy().std(axis=(1, 2, 3)) == 0 for view in seen])
    differs = np.concatenate([view.target != view.second for view in seen])
    mixup = flat[differs].mean()  # a blend of two greys is flat, a cut is not unless its box is empty
    assert 0.35 < mixup < 0.65
    shares = np.concatenate([view.share for view in seen])
    assert 0.2 < shares.mean() < 0.3, "the smaller part of a uniform cut is a quarter in the mean"


def test_to_input_is_the_twin_of_normalize() -> None:
    """numpy (calibration, devices) and torch (training) give the same bits, channels last in memory."""
    pixels = a_split().images
    preprocess = Preprocess(SIDE, SIDE, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    images = to_input(torch.from_numpy(pixels), preprocess, torch.device("cpu"))
    np.testing.assert_array_equal(images.numpy(), preprocess.normalize(pixels))
    assert images.is_contiguous(memory_format=torch.channels_last)
