"""Which of the tried models is kept, which are on the Pareto front, and whether INT8 pays."""

from __future__ import annotations

import numpy as np
import pytest

from kdtool.machine.cpu import INT8_WORTH_IT
from kdtool.quant.accuracy import Accuracy
from kdtool.quant.maker import Choice
from kdtool.quant.search import Trial, keep, pareto, variations
from kdtool.quant.sensitivity import SILENT, Layer, more_and_more_fp32, sqnr
from kdtool.quant.speed import Speed, speed_of
from kdtool.quant.target import SCHEMES, QuantFormat, int8_scheme
from kdtool.recipe.choices import Calibration

MINMAX = Calibration.MINMAX
SCHEME = int8_scheme("x86-vnni")


def trial(drop: float, ms: float | None, method: Calibration = MINMAX, noise: float = 0.0) -> Trial:
    """Its latencies are `ms`, with normal noise of that share of it."""
    samples = () if ms is None else tuple(np.random.default_rng(0).normal(ms, noise * ms, 64).tolist())
    return Trial(Choice(SCHEME, method), Accuracy(int(100 - drop), 100), drop, 1000, samples)


def test_the_fastest_within_the_limit_is_kept() -> None:
    slow, fast, wrong = trial(0, 10), trial(1, 8), trial(5, 2)
    assert keep([slow, fast, wrong], 1.0) is fast
    assert keep([slow, fast, wrong], 0.5) is slow


def test_of_equally_fast_ones_the_most_accurate_is_kept() -> None:
    a, b = trial(1, 10.0), trial(0, 10.4)
    assert keep([a, b], 1.0) is b
    unsure = trial(0, 11.0, noise=0.2)
    assert unsure.ms > 10.5
    assert keep([a, unsure], 1.0) is unsure, "slower by more than 5 %, but not with confidence"
    surely = trial(0, 10.8)
    assert keep([a, surely], 1.0) is a


def test_without_latency_accuracy_decides() -> None:
    a, b = trial(1, None), trial(0, None)
    assert keep([a, b], 1.0) is b


def test_if_none_is_within_the_limit_the_most_accurate_goes_on() -> None:
    a, b = trial(9, 1), trial(4, 10)
    assert keep([a, b], 1.0) is b


def test_the_front_is_what_nothing_beats() -> None:
    accurate, fast, beaten, twin = trial(0, 10), trial(2, 5), trial(2, 10), trial(0, 10, Calibration.MSE)
    assert pareto([accurate, fast, beaten, twin]) == [accurate, fast, twin]
    slower, worse = trial(0, 11), trial(1, 10)
    assert pareto([accurate, slower]) == [accurate], "as accurate, and slower"
    assert pareto([worse, accurate]) == [accurate], "as fast, and less accurate"
    nearly = trial(0.5, 9.9)
    assert pareto([accurate, nearly]) == [accurate], "it is not faster beyond what equal models differ by"


@pytest.mark.parametrize("target", SCHEMES)
def test_variations_change_one_thing_each_and_are_no_twins(target: str) -> None:
    own = int8_scheme(target)
    others = variations(own)
    assert own not in others
    assert len({str(scheme) for scheme in [own, *others]}) == len(others) + 1
    assert {scheme.target for scheme in others} == {target}
    assert {scheme.quant_format for scheme in others} == set(QuantFormat)


def test_layers_go_back_one_after_the_other() -> None:
    ranked = [Layer("worst", "Conv", 3), Layer("bad", "Gemm", 9), Layer("good", "Conv", 40)]
    kept = [choice.fp32_layers for choice, _ in more_and_more_fp32(ranked, 2, Choice(SCHEME, MINMAX))]
    assert kept == [("worst",), ("worst", "bad")]


def test_signal_to_noise() -> None:
    signal = np.ones((2, 5), np.float32)
    assert sqnr(signal, signal * np.float32(1.1)) == pytest.approx(20, abs=1e-4)
    assert sqnr(signal, signal) == SILENT
    assert sqnr(signal, np.full_like(signal, np.nan)) == -SILENT


def test_the_interval_covers_the_true_ratio() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(60):
        speed = speed_of(rng.normal(10, 0.5, 64), rng.normal(20, 1, 64), 1)
        covered += speed.low <= 2.0 <= speed.high
    assert covered >= 53  # 95 % of 60 is 57


def test_a_drift_that_both_share_does_not_pass_for_speed() -> None:
    drift = np.linspace(1, 2, 64)
    speed = speed_of(10 * drift * 1.001, 10 * drift, 1)
    assert not speed.worth_it
    assert Speed.from_json(speed.to_json()) == speed


def test_faster_without_confidence_is_not_worth_it() -> None:
    noise = np.random.default_rng(0).normal(1, 0.3, 64)
    unsure = speed_of(10 * noise[::-1], 11.5 * noise, 1)
    assert unsure.low < INT8_WORTH_IT < unsure.ratio
    assert not unsure.worth_it
    assert speed_of([10.0] * 64, [11.5] * 64, 1).worth_it


def test_a_choice_says_what_it_is() -> None:
    assert str(Choice(SCHEME, Calibration.MSE, ("a", "b"))) == f"{SCHEME}; mse, 2 layer(s) in FP32"
