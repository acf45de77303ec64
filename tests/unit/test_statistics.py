"""Intervals and verdicts against independent values, properties, and simulated coverage."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fixtures.slowness import REACHED, coverage, intervals, relative_width, session_coverage
from kdtool.core.errors import UsageError
from kdtool.results.statistics import times
from kdtool.results.statistics.accuracy import (
    Concordance,
    difference_bootstrap,
    holm,
    mcnemar_exact,
    paired_bootstrap,
    wilson,
)
from kdtool.results.statistics.sessions import (
    over_sessions,
    quantile_of_sessions,
    ratio_of_sessions,
    student_t,
)
from kdtool.results.statistics.times import median_ratio_interval, quantile, samples_for


def pairs(both: int, student_only: int, teacher_only: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    student = [True] * both + [True] * student_only + [False] * (teacher_only + neither)
    teacher = [True] * both + [False] * student_only + [True] * teacher_only + [False] * neither
    return np.array(student, bool), np.array(teacher, bool)


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (10, 10), (1, 3), (81, 263), (868, 1000), (1, 1)])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_wilson_is_scipys(successes: int, n: int, confidence: float) -> None:
    expected = stats.binomtest(successes, n).proportion_ci(confidence, method="wilson")
    assert wilson(successes, n, confidence) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_of_newcombes_table() -> None:
    """R. G. Newcombe, Stat. Med. 17 (1998) 857, table I, method 3: 81 of 263."""
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)


@pytest.mark.parametrize(("successes", "n"), [(1, 0), (-1, 5), (6, 5)])
def test_wilson_refuses_impossible_counts(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match="successes of"):
        wilson(successes, n)


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_estimate_within_the_unit_interval(counts: tuple[int, int]) -> None:
    low, high = wilson(*counts)
    assert 0 <= low <= counts[0] / counts[1] <= high <= 1
    assert low < high


@pytest.mark.parametrize("p", [0.05, 0.5, 0.92])
def test_wilson_covers(p: float) -> None:
    """Exact coverage, by summing the binomial distribution."""
    n = 200
    inside = [k for k in range(n + 1) if wilson(k, n)[0] <= p <= wilson(k, n)[1]]
    assert stats.binom.pmf(inside, n, p).sum() == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize(("b", "c"), [(0, 0), (0, 1), (5, 5), (2, 11), (11, 2), (40, 71), (0, 30)])
def test_mcnemar_is_the_binomial_test(b: int, c: int) -> None:
    expected = stats.binomtest(b, b + c, 0.5).pvalue if b + c else 1.0
    assert mcnemar_exact(b, c) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_of_many_pairs_stays_finite() -> None:
    assert mcnemar_exact(9_000, 9_400) == pytest.approx(stats.binomtest(9_000, 18_400).pvalue, rel=1e-6)


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_a_symmetric_probability(b: int, c: int) -> None:
    assert 0 < mcnemar_exact(b, c) == mcnemar_exact(c, b) <= 1


def test_holm_is_that_of_his_paper() -> None:
    """By hand: 4 · 0.005, 3 · 0.01, 2 · 0.03, and 0.04, which may not be less than the one before."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([0.7]) == (0.7,)
    assert holm([0.9, 0.5]) == (1.0, 1.0)
    assert holm([]) == ()


def test_holm_keeps_its_level_over_all_pairs_together() -> None:
    """Simulation: five models that do not differ, ten pairs, 400 test splits of 300 images."""
    generator = np.random.default_rng(2)
    alone = together = 0
    for _ in range(400):
        right = generator.random((5, 300)) < 0.8
        tables = [
            (int((right[i] & ~right[j]).sum()), int((right[j] & ~right[i]).sum()))
            for i in range(5)
            for j in range(i)
        ]
        ps = [mcnemar_exact(*table) for table in tables]
        alone += min(ps) < 0.05
        together += min(holm(ps)) < 0.05
    assert together / 400 <= 0.05 < alone / 400


def test_concordance_wants_the_same_images() -> None:
    with pytest.raises(ValueError, match="not paired"):
        Concordance.of(np.ones(3, bool), np.ones(4, bool))


def test_bootstrap_is_that_of_resampled_images() -> None:
    """Against the definition: draw images with replacement, divide the accuracies."""
    student, teacher = pairs(780, 40, 110, 70)
    generator = np.random.default_rng(7)
    drawn = generator.integers(0, 1000, size=(4000, 1000))
    ratios = student[drawn].sum(1) / teacher[drawn].sum(1)
    expected = np.quantile(ratios, [0.025, 0.975])
    assert paired_bootstrap(student, teacher, 20_000) == pytest.approx(tuple(expected), abs=2e-3)


def test_bootstrap_agrees_with_the_logarithmic_interval() -> None:
    """Var ln(ratio) = (b + c) / (s t) for paired data: Nam and Blackwelder, Stat. Med. 21 (2002) 689."""
    both, student_only, teacher_only = 4000, 250, 500
    student, teacher = pairs(both, student_only, teacher_only, 250)
    s, t = both + student_only, both + teacher_only
    spread = 1.96 * math.sqrt((student_only + teacher_only) / (s * t))
    expected = (s / t * math.exp(-spread), s / t * math.exp(spread))
    assert paired_bootstrap(student, teacher, 20_000) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("images", [30, 100, 1000])
@pytest.mark.parametrize(
    "cells", [(0.86, 0.02, 0.07, 0.05), (0.94, 0.01, 0.02, 0.03), (0.6, 0.1, 0.15, 0.15)]
)
def test_bootstrap_covers_as_its_docstring_says(cells: tuple[float, ...], images: int) -> None:
    """Simulation: 1,000 test splits of known accuracies."""
    truth = (cells[0] + cells[1]) / (cells[0] + cells[2])
    tables = np.random.default_rng(3).multinomial(images, cells, size=1000)
    intervals = [paired_bootstrap(*pairs(*table), resamples=1000, seed=n) for n, table in enumerate(tables)]
    covered = np.mean([low <= truth <= high for low, high in intervals])
    assert "cover 93–100 %" in paired_bootstrap.__doc__
    assert 0.93 <= covered <= 1


def test_bootstrap_repeats_with_its_seed() -> None:
    student, teacher = pairs(50, 3, 8, 9)
    assert paired_bootstrap(student, teacher, seed=4) == paired_bootstrap(student, teacher, seed=4)
    assert paired_bootstrap(student, teacher, seed=4) != paired_bootstrap(student, teacher, seed=5)


def test_bootstrap_of_identical_answers_still_has_width() -> None:
    low, high = paired_bootstrap(*pairs(10, 0, 0, 0))
    assert low < 0.95
    assert high > 1


def test_no_ratio_to_a_teacher_that_is_never_right() -> None:
    assert paired_bootstrap(*pairs(0, 3, 0, 3)) is None


counts = st.integers(0, 80)


@settings(deadline=None)
@given(counts, counts, st.integers(1, 80), counts)
def test_bootstrap_bounds_are_ordered_and_finite(both: int, student: int, teacher: int, none: int) -> None:
    low, high = paired_bootstrap(*pairs(both, student, teacher, none), resamples=1000)
    assert 0 <= low <= high < math.inf


def test_difference_is_that_of_resampled_images() -> None:
    student, teacher = pairs(780, 40, 110, 70)
    drawn = np.random.default_rng(7).integers(0, 1000, size=(4000, 1000))
    gaps = student[drawn].mean(1) - teacher[drawn].mean(1)
    expected = np.quantile(gaps, [0.025, 0.975])
    assert difference_bootstrap(student, teacher, 20_000) == pytest.approx(tuple(expected), abs=2e-3)


@pytest.mark.parametrize("images", [100, 1000])
def test_difference_covers(images: int) -> None:
    """Simulation: 600 test splits of known accuracies."""
    cells = (0.86, 0.02, 0.07, 0.05)
    tables = np.random.default_rng(3).multinomial(images, cells, size=600)
    intervals = [
        difference_bootstrap(*pairs(*table), resamples=1000, seed=n) for n, table in enumerate(tables)
    ]
    assert 0.92 <= np.mean([low <= -0.05 <= high for low, high in intervals]) <= 1


def test_percentiles() -> None:
    samples = list(range(101))
    assert (quantile(samples, 0.5), quantile(samples, 0.9)) == (50.0, 90.0)
    assert (samples_for(0.5), samples_for(0.9), samples_for(0.99)) == (1, 64, 662)
    with pytest.raises(UsageError, match="p90 of 63 samples: it needs at least 64"):
        quantile(samples[:63], 0.9)
    with pytest.raises(UsageError, match="p99 of 661 samples: it needs at least 662"):
        quantile(range(661), 0.99)
    with pytest.raises(UsageError, match="p50 of 0 samples"):
        quantile([], 0.5)


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.99])
@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 9, 10, 29, 99])
def test_student_is_scipys(freedom: int, confidence: float) -> None:
    assert student_t(freedom, confidence) == pytest.approx(stats.t.ppf((1 + confidence) / 2, freedom))


@pytest.mark.parametrize("private", [0.0, 0.5, 0.8])
@pytest.mark.parametrize("sessions", [3, 5])
def test_intervals_over_sessions_cover(sessions: int, private: float) -> None:
    """Simulation of 1,000 benches; `make interval-coverage` takes more. See fixtures/slowness.py."""
    for name, covered in session_coverage(1_000, sessions, private).items():
        assert covered >= 0.93, name


def test_what_sessions_cannot_give() -> None:
    with pytest.raises(UsageError, match="There are no latencies"):
        over_sessions([])
    with pytest.raises(ValueError, match="zip"):
        ratio_of_sessions([[1.0]], [[1.0], [2.0]])
    with pytest.raises(UsageError, match="p90 of 63 samples: it needs at least 64"):
        quantile_of_sessions([[1.0] * 40, [1.0] * 23], 0.9)


@pytest.mark.parametrize(("shared", "private", "covered", "width"), REACHED)
def test_interval_of_a_ratio_of_medians_is_as_wide_as_it_was(
    shared: float, private: float, covered: float, width: float
) -> None:
    """Simulation of 60 runs; `make interval-coverage` takes 600.

    A slowness that both models share cancels where rounds are paired; one that each model has on its own
    does not, and needs blocks of rounds.
    """
    found = intervals(60, shared, private)
    assert relative_width(found, shared, private) == pytest.approx(width, abs=0.08)
    assert coverage(found) == pytest.approx(covered, abs=0.1)  # three standard errors of 60 runs


def test_a_ratio_wants_the_same_rounds() -> None:
    with pytest.raises(ValueError, match="same shape"):
        median_ratio_interval([1.0, 2.0], [1.0])
    assert median_ratio_interval([2.0] * 70, [4.0] * 70) == (0.5, 0.5)


def test_the_memory_of_an_interval_does_not_grow_with_the_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    numerator, denominator = np.random.default_rng(0).gamma(9, size=(2, 777))
    whole = median_ratio_interval(numerator, denominator, resamples=1_001)
    monkeypatch.setattr(times, "ROUNDS_IN_MEMORY", 10_000)
    assert median_ratio_interval(numerator, denominator, resamples=1_001) == whole
    monkeypatch.undo()
    many = np.linspace(1, 2, 100_000)
    tracemalloc.start()
    try:
        median_ratio_interval(many, many, resamples=20)
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()
