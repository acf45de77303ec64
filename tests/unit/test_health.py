"""Faults that make a classifier useless: found where they are, and nowhere else."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kdtool.results.classes import Tally
from kdtool.results.health import at_chance, exploded, fault_of, one_class

TEN = np.arange(10).repeat(34)


def tally(labels: np.ndarray, predicted: np.ndarray, classes: int = 10) -> Tally:
    return Tally.of(labels, predicted, classes)


def guesses(labels: np.ndarray, right: float, seed: int = 0) -> np.ndarray:
    """Predictions of which the share `right` is right, the others at random."""
    random = np.random.default_rng(seed)
    return np.where(random.random(len(labels)) < right, labels, random.integers(0, 10, len(labels)))


def test_a_good_model_has_no_fault() -> None:
    assert fault_of(tally(TEN, TEN), loss=0.1) is None
    assert fault_of(tally(TEN, guesses(TEN, 0.15)), loss=2.3) is None, "better than chance is of some use"


def test_guesses_are_no_better_than_chance() -> None:
    text = fault_of(tally(TEN, guesses(TEN, 0.0))) or ""
    assert "no better than chance" in text
    assert "340 images" in text


def test_the_largest_class_alone_is_a_fault() -> None:
    labels = np.repeat([0, 1], [80, 20])
    text = fault_of(tally(labels, np.zeros(100, np.int64), 2), ("boot", "hat")) or ""
    assert text == "it answers 'boot' for 100.0 % of the images, and 80.0 % are"


def test_images_of_nearly_one_class_may_get_one_answer() -> None:
    labels = np.repeat([0, 1], [970, 30])
    assert not one_class(1.0, 0.97)
    predicted = labels.copy()
    predicted[970:990] = 0
    assert fault_of(tally(labels, predicted, 2)) is None


def test_an_exploded_loss() -> None:
    assert "its cross-entropy of 2.5e+06 is over 10 times" in (fault_of(tally(TEN, TEN), loss=2.5e6) or "")
    assert exploded(math.nan, 10)
    assert not exploded(10 * math.log(10), 10)


@pytest.mark.parametrize(("images", "right", "fault"), [(40, 20, True), (40, 26, True), (40, 34, False)])
def test_chance_is_judged_by_the_interval(images: int, right: int, fault: bool) -> None:
    labels = np.arange(images) % 2
    predicted = np.where(np.arange(images) < right, labels, 1 - labels)
    assert at_chance(tally(labels, predicted, 2)) == fault


def test_guesses_with_the_frequencies_of_the_classes_are_chance() -> None:
    """82 % right, and independent of the labels: 0.9 · 0.9 + 0.1 · 0.1."""
    labels = np.repeat([0, 1], [90, 10])
    predicted = np.concatenate([np.repeat([0, 1], [81, 9]), np.repeat([0, 1], [9, 1])])
    assert "no better than chance, 82.0 %" in (fault_of(tally(labels, predicted, 2)) or "")


def test_few_images_tell_nothing() -> None:
    labels = np.arange(29) % 3
    assert fault_of(tally(labels, np.zeros(29, np.int64), 3)) is None
    assert fault_of(tally(labels, np.zeros(29, np.int64), 3), loss=1e6) is not None
    more = np.arange(30) % 3
    assert fault_of(tally(more, np.zeros(30, np.int64), 3)) is not None
