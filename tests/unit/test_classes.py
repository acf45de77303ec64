"""Figures that count every class alike, against scikit-learn, and their intervals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom
from sklearn.metrics import balanced_accuracy_score, cohen_kappa_score, f1_score

from kdtool.results.classes import CLASS_MEASURES, Answers, class_interval

PAIRS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=60)


def answers(pairs: list[tuple[int, int]], classes: int = 5) -> Answers:
    labels, predicted = (np.array(column, dtype=np.int64) for column in zip(*pairs, strict=True))
    return Answers(labels, predicted, classes)


@pytest.mark.filterwarnings("ignore:y_pred contains classes")
@given(PAIRS)
def test_the_figures_are_those_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    found = answers(pairs)
    assert found.tally.balanced_accuracy == pytest.approx(
        balanced_accuracy_score(found.labels, found.predicted)
    )
    expected = f1_score(found.labels, found.predicted, average="macro", zero_division=0)
    assert found.tally.macro_f1 == pytest.approx(expected)
    kappa = cohen_kappa_score(found.labels, found.predicted)
    if not np.isnan(kappa):
        chance = found.tally.chance
        assert (found.tally.accuracy - chance) / (1 - chance) == pytest.approx(kappa, abs=1e-9)


@given(PAIRS)
def test_an_interval_holds_its_figure(pairs: list[tuple[int, int]]) -> None:
    found = answers(pairs)
    for name in CLASS_MEASURES:
        low, high = class_interval(name, found, resamples=200)
        assert 0 <= low <= high <= 1
        assert low - 0.05 <= getattr(found.tally, name) <= high + 0.05


def test_the_largest_class_alone_is_seen() -> None:
    labels = np.repeat([0, 1], [95, 5])
    found = Answers(labels, np.zeros(100, np.int64), 2)
    assert found.tally.accuracy == 0.95
    assert found.tally.balanced_accuracy == 0.5
    assert found.tally.macro_f1 == pytest.approx((190 / 195) / 2)


def test_five_of_five_prove_nothing() -> None:
    labels = np.repeat([0, 1], 5)
    low, high = class_interval("balanced_accuracy", Answers(labels, labels, 2))
    assert low < 0.9
    assert high == 1.0


def test_none_of_five_proves_nothing() -> None:
    labels = np.repeat([0, 1], 5)
    low, high = class_interval("balanced_accuracy", Answers(labels, 1 - labels, 2))
    assert low == 0.0
    assert high > 0.1


def test_an_interval_is_moved_back_by_what_the_smoothing_moved() -> None:
    """One class, 8 of 10 right: quantiles of Binomial(10, 8.5 / 11) / 10, moved by 8 / 10 − 8.5 / 11."""
    found = Answers(np.zeros(10, np.int64), np.repeat([0, 1], [8, 2]), 2)
    low, high = class_interval("balanced_accuracy", found)
    drawn = binom.ppf([0.025, 0.975], 10, 8.5 / 11) / 10
    assert (low, high) == pytest.approx((drawn[0] + 0.8 - 8.5 / 11, min(1.0, drawn[1] + 0.8 - 8.5 / 11)))


@pytest.mark.parametrize("counts", [(60, 60, 60), (100, 20, 8)])
def test_intervals_cover_the_truth(counts: tuple[int, ...]) -> None:
    """85 % or more of 200 simulated splits; see the docstring for longer simulations."""
    random, number, accuracy = np.random.default_rng(0), np.array(counts), 0.8
    share = np.full((3, 3), (1 - accuracy) / 2) + np.eye(3) * (accuracy - (1 - accuracy) / 2)
    truth = {
        name: float(measure(number, number @ share, number * np.diag(share)))
        for name, measure in CLASS_MEASURES.items()
    }
    covered = dict.fromkeys(CLASS_MEASURES, 0)
    for seed in range(200):
        labels = np.repeat(np.arange(3), number)
        predicted = np.concatenate(
            [random.choice(3, size=n, p=share[k]) for k, n in enumerate(number)]
        ).astype(np.int64)
        for name in CLASS_MEASURES:
            low, high = class_interval(name, Answers(labels, predicted, 3), 300, seed)
            covered[name] += low <= truth[name] <= high
    assert min(covered.values()) >= 0.88 * 200, covered
