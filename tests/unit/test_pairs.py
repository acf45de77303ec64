"""Every pair of models on the same images: which pairs, in which direction, with which figures."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from kdtool.benchmark.pairs import differences_of, gain_of
from kdtool.results.measures import MEASURES, Resampling, Side

SEED, RESAMPLES = 0, 2000


def answers(**shares: float) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(1)
    hard = generator.random(400)  # a hard image is hard for all, so that answers depend on each other
    return {name: hard + generator.normal(0, 0.1, 400) < share for name, share in shares.items()}


CORRECT = answers(teacher=0.9, student=0.85, baseline=0.7, student_int8=0.84)


def test_every_pair_is_there_once_the_later_model_against_the_earlier() -> None:
    pairs = differences_of(CORRECT, RESAMPLES, SEED)
    assert [(pair.model, pair.against) for pair in pairs] == [
        ("student", "teacher"),
        ("baseline", "teacher"),
        ("student_int8", "teacher"),
        ("baseline", "student"),
        ("student_int8", "student"),
        ("student_int8", "baseline"),
    ]


def test_figures_of_a_pair_are_those_of_its_images() -> None:
    for pair in differences_of(CORRECT, RESAMPLES, SEED):
        own, other = CORRECT[pair.model], CORRECT[pair.against]
        assert pair.n_images == 400
        assert (pair.model_only, pair.against_only) == ((own & ~other).sum(), (other & ~own).sum())
        assert pair.points == pytest.approx(100 * (own.mean() - other.mean()))
        assert pair.points_ci[0] <= pair.points <= pair.points_ci[1]
        assert pair.retention == pytest.approx(own.mean() / other.mean())
        assert pair.retention_ci[0] <= pair.retention <= pair.retention_ci[1]
        discordant = pair.model_only + pair.against_only
        assert pair.p == pytest.approx(stats.binomtest(pair.model_only, discordant).pvalue)
        assert pair.p <= pair.p_holm <= 1


def test_an_interval_that_leaves_zero_out_has_a_small_p() -> None:
    found = {(pair.model, pair.against): pair for pair in differences_of(CORRECT, RESAMPLES, SEED)}
    far, near = found["baseline", "teacher"], found["student_int8", "student"]
    assert far.points_ci[1] < 0 < near.points_ci[1]
    assert far.p_holm < 0.001 < 0.05 < near.p


def test_a_claim_on_the_same_pair_says_the_same() -> None:
    pair = differences_of(CORRECT, RESAMPLES, SEED)[0]
    sides = Side(correct=CORRECT["student"]), Side(correct=CORRECT["teacher"])
    how = Resampling(RESAMPLES, SEED)
    retention, drop = (MEASURES[name].estimate(*sides, how) for name in ("retention", "drop"))
    assert (pair.retention, pair.retention_ci) == (retention.value, retention.interval)
    assert pair.points_ci == pytest.approx((-drop.interval[1], -drop.interval[0]))


def test_models_that_answer_alike_differ_by_nothing_that_is_certain() -> None:
    same = {"a": CORRECT["teacher"], "b": CORRECT["teacher"]}
    (pair,) = differences_of(same, RESAMPLES, SEED)
    assert (pair.points, pair.p, pair.retention) == (0.0, 1.0, 1.0)
    assert pair.points_ci[0] < 0 < pair.points_ci[1]


def test_no_ratio_to_a_model_that_is_never_right() -> None:
    (pair,) = differences_of({"a": np.zeros(9, bool), "b": np.ones(9, bool)}, RESAMPLES, SEED)
    assert (pair.retention, pair.retention_ci, pair.points) == (None, None, 100.0)


@pytest.mark.parametrize("names", [(), ("student",)])
def test_a_pair_takes_two(names: tuple[str, ...]) -> None:
    assert differences_of({name: CORRECT[name] for name in names}, RESAMPLES, SEED) == ()


def test_answers_to_other_images_are_no_pair() -> None:
    with pytest.raises(ValueError, match="not paired"):
        differences_of({"a": np.ones(9, bool), "b": np.ones(8, bool)}, RESAMPLES, SEED)


def test_the_gain_is_the_student_against_its_baseline() -> None:
    gain = gain_of(CORRECT)
    (pair,) = differences_of({name: CORRECT[name] for name in ("baseline", "student")}, RESAMPLES, SEED)
    assert (gain.points, gain.p) == (pair.points, pair.p)
    assert (gain.student_only, gain.baseline_only) == (pair.model_only, pair.against_only)
    assert gain_of({"student": CORRECT["student"]}) is None
