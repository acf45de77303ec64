"""Claims: what may be said, and the verdict on it."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest

from kdtool.core.errors import UsageError
from kdtool.recipe.settings import BenchSettings
from kdtool.results.claim import Bound, Judged, judge, parse_claim, samples_needed, usual_claim
from kdtool.results.classes import Answers
from kdtool.results.measures import MEASURES, Resampling, Side

USUAL = usual_claim(0.94, 0.5)
HALF = ((50, 500), (100, 1000))
HOW = Resampling(resamples=2000)


def sides(table: tuple[int, ...], costs: tuple = HALF) -> tuple[Side, Side]:
    """Student and teacher with a table of concordance, and (params, MACs) of each."""
    both, student_only, teacher_only, neither = (int(count) for count in table)
    student = [True] * (both + student_only) + [False] * (teacher_only + neither)
    teacher = [True] * both + [False] * student_only + [True] * teacher_only + [False] * neither
    return tuple(
        Side(correct=np.array(correct, bool), params=params, macs=macs)
        for correct, (params, macs) in zip(
            (student, teacher), (cost or (None, None) for cost in costs), strict=True
        )
    )


@pytest.mark.parametrize(
    ("table", "costs", "verdict"),
    [
        ((1800, 40, 60, 100), HALF, "PASS"),
        ((1500, 10, 300, 190), HALF, "FAIL"),
        ((160, 2, 12, 26), HALF, "INCONCLUSIVE"),
        ((1800, 40, 60, 100), ((50, 501), (100, 1000)), "FAIL"),  # one MAC over
        ((160, 2, 12, 26), ((50, 900), (100, 1000)), "FAIL"),
        ((1800, 40, 60, 100), (None, (100, 1000)), "INCONCLUSIVE"),
        ((1800, 40, 60, 100), ((0, 0), (100, 1000)), "INCONCLUSIVE"),
        ((1500, 10, 300, 190), (None, None), "FAIL"),
    ],
)
def test_the_usual_claim(table: tuple[int, ...], costs: tuple, verdict: str) -> None:
    result = judge(USUAL, *sides(table, costs), HOW)
    assert result.verdict == verdict
    limits = result.to_json()["thresholds"]
    assert (limits["min_retention"], limits["max_compute"]) == (0.94, 0.5)
    assert (result.images_needed is not None) == (verdict == "INCONCLUSIVE" and costs == HALF)


def test_compute_is_compared_exactly() -> None:
    """0.55 is not a binary fraction; 55 of 100 is still at most 0.55."""
    bound = parse_claim("macs<=0.55")
    assert judge(bound, Side(macs=55), Side(macs=100), HOW).verdict == "PASS"
    assert judge(bound, Side(macs=55 * 10**15 + 1), Side(macs=10**17), HOW).verdict == "FAIL"


def test_nothing_measured_decides_nothing() -> None:
    result = judge(USUAL, None, None, HOW)
    assert (result.verdict, result.retention, result.retention_ci) == ("INCONCLUSIVE", None, None)
    result = judge(USUAL, Side(params=50, macs=500), Side(params=100, macs=1000), HOW)
    assert (result.compute_ratio, result.params_ratio) == (0.5, 0.5)
    assert judge(USUAL, *sides((0, 3, 0, 3)), HOW).verdict == "INCONCLUSIVE"  # a teacher that is never right


@pytest.mark.parametrize("claim", ["retention>=0.94", "drop<=4.2", "accuracy>=0.8"])
def test_the_number_of_images_named_decides(claim: str) -> None:
    """In the same proportions, it gives a verdict (or nearly so)."""
    table = np.array([160, 2, 9, 29])
    first = judge(parse_claim(claim), *sides(table), HOW)
    assert first.verdict == "INCONCLUSIVE"
    factor = math.ceil(1.15 * first.images_needed / 200)
    assert judge(parse_claim(claim), *sides(table * factor), HOW).verdict == "PASS"


def test_an_interval_half_as_wide_wants_four_times_the_samples() -> None:
    assert samples_needed(0.9, (0.8, 0.95), 0.85, 100) == 400
    assert samples_needed(0.9, (0.85, 1.0), 0.925, 100) == 1600
    assert samples_needed(0.9, (0.8, 0.95), 0.81, 100) == 124


def test_of_two_undecided_bounds_the_one_that_wants_more_images_counts() -> None:
    table = np.array([160, 2, 9, 29])
    near, far = (
        judge(parse_claim(claim), *sides(table), HOW).images_needed
        for claim in ("retention>=0.956", "accuracy>=0.77")
    )
    both = judge(parse_claim("retention>=0.956,accuracy>=0.77"), *sides(table), HOW)
    assert near > far
    assert both.images_needed == near


def test_no_number_of_images_decides_on_the_limit() -> None:
    assert samples_needed(0.94, (0.9, 0.97), 0.94, 100) is None
    assert samples_needed(10.0, (9.0, 11.0), 9.4, 5, fixed=0.61) is None
    assert samples_needed(10.0, (9.0, 11.0), 9.4, 5, fixed=0.5) == math.ceil(5 * 0.75 / 0.11)
    result = judge(parse_claim("accuracy>=0.5"), *sides((50, 0, 0, 50)), HOW)
    assert (result.verdict, result.images_needed) == ("INCONCLUSIVE", None)


def timed(scale: float, rounds: int = 700, sessions: int = 5) -> Side:
    """A model whose latencies spread by a twentieth around `scale` ms, in a file of `scale` MB."""
    noise = np.random.default_rng(3).normal(1, 0.05, rounds)
    samples = tuple(tuple(part) for part in np.array_split(scale * noise, sessions))
    million = int(1e6 * scale)
    return Side(params=million, macs=1000 * million, size_bytes=million, latencies=samples, batches=samples)


@pytest.mark.parametrize(
    ("claim", "verdict"),
    [
        ("latency<=0.35", "PASS"),
        ("latency<=0.25", "FAIL"),
        ("throughput>=3", "PASS"),
        ("throughput>=4", "FAIL"),
        ("p50_ms<=3.4", "PASS"),
        ("p50_ms<=3.01", "INCONCLUSIVE"),
        ("p90_ms<=3.6", "PASS"),
        ("p99_ms<=3", "FAIL"),
        ("params<=0.3,macs<=0.3,size<=0.3", "PASS"),
        ("size_mb<=3", "PASS"),
        ("size_mb<=2.9", "FAIL"),
        ("accuracy>=0.9", "INCONCLUSIVE"),
        ("accuracy>=0.9,size_mb<=2.9", "FAIL"),
    ],
)
def test_other_measures(claim: str, verdict: str) -> None:
    result = judge(parse_claim(claim), timed(3.0), timed(10.0), HOW)
    assert result.verdict == verdict
    for part in result.bounds:
        open_ = part.verdict == "INCONCLUSIVE" and part.value is not None
        assert part.needed is None or (open_ and part.needed > 5)


@pytest.mark.parametrize("claim", ["p50_ms<=1", "p90_ms<=99", "latency<=9", "throughput>=0.1"])
def test_a_time_of_one_session_is_known_and_not_judged(claim: str) -> None:
    (part,) = judge(parse_claim(claim), timed(3.0, sessions=1), timed(10.0, sessions=1), HOW).bounds
    assert (part.value is None, part.interval, part.verdict) == (False, None, "INCONCLUSIVE")


@pytest.mark.parametrize("count", [-221_216, -1, 0])
def test_no_count_below_one_reaches_a_claim(count: int) -> None:
    wrong = Side(params=count, macs=count, size_bytes=1)
    for judged, reference in ((wrong, timed(10.0)), (timed(3.0), wrong)):
        result = judge(parse_claim("macs<=0.5,params<=0.5"), judged, reference, HOW)
        assert {(part.value, part.verdict) for part in result.bounds} == {(None, "INCONCLUSIVE")}


def test_nothing_claimed_has_no_verdict() -> None:
    result = judge((), timed(3.0), timed(10.0), HOW)
    assert (result.verdict, result.bounds, result.compute_ratio) == (None, (), 0.3)


def test_a_p99_of_too_few_samples_is_not_judged() -> None:
    (part,) = judge(parse_claim("p99_ms<=9"), timed(1.0, 661), None, HOW).bounds
    assert (part.value, part.verdict) == (None, "INCONCLUSIVE")


@pytest.mark.parametrize("name", MEASURES)
def test_every_measure_is_absent_where_nothing_was_measured(name: str) -> None:
    for judged, reference in ((None, None), (Side(), Side()), (Side(), None), (None, Side())):
        assert MEASURES[name].estimate(judged, reference, HOW) is None


def answers_of(correct: npt.NDArray[np.bool_]) -> Answers:
    """Labels of two classes, and predictions that are right where `correct` says."""
    labels = np.arange(len(correct)) % 2
    return Answers(labels, np.where(correct, labels, 1 - labels), 2)


@pytest.mark.parametrize("name", MEASURES)
def test_every_measure_has_an_estimate_within_its_interval(name: str) -> None:
    table = sides((160, 2, 12, 26))
    both = tuple(
        replace(clock, correct=one.correct, answers=answers_of(one.correct))
        for one, clock in zip(table, (timed(3.0), timed(10.0)), strict=True)
    )
    found = MEASURES[name].estimate(*both, HOW)
    if not isinstance(found, Fraction):
        low, high = found.interval
        assert low <= found.value <= high
        assert found.n == {"test images": 200, "sessions": 5}[found.of]


def test_a_claim_as_it_is_written() -> None:
    bounds = parse_claim(" macs<=0.5, retention >= 0.94,latency≤0.3")
    assert bounds == (
        Bound("macs", False, 0.5),
        Bound("retention", True, 0.94),
        Bound("latency", False, 0.3),
    )
    assert ",".join(map(str, bounds)) == "macs<=0.5,retention>=0.94,latency<=0.3"
    assert BenchSettings(claim="macs <= 0.5").bounds == (Bound("macs", False, 0.5),)
    assert BenchSettings().bounds == USUAL


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "'' is not a bound"),
        ("macs", "'macs' is not a bound"),
        ("macs<0.5", "'macs<0.5' is not a bound"),
        ("speed<=1", "'speed<=1' is not a bound; allowed is .* retention, accuracy"),
        ("macs<=-1", "is not a bound"),
        ("macs<=nan", "is not a bound"),
        ("macs<=0.5,,size<=1", "'' is not a bound"),
        ("macs<=0.5,macs<=0.4", "two limits on the same side"),
    ],
)
def test_what_is_no_claim(text: str, cause: str) -> None:
    with pytest.raises(UsageError, match=cause):
        parse_claim(text)
    if text:
        with pytest.raises(ValueError, match=cause):
            BenchSettings(claim=text)


def test_a_measure_from_a_file_is_one_we_know() -> None:
    with pytest.raises(ValueError, match="measure is 'speed', allowed: retention"):
        Judged("speed", True, 1.0, "PASS")
