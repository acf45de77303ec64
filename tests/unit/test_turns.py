"""The order of samples, warming up, and how long measuring goes on."""

from __future__ import annotations

import gc
from collections import Counter
from itertools import pairwise, permutations

import numpy as np
import pytest

from fixtures.clocks import IMAGE, Clock, Recorder, Slow
from kdtool.benchmark.timing.latency import latency_of
from kdtool.core.screen import QUIET
from kdtool.recipe.choices import MOST_SAMPLES
from kdtool.runtime.turns import Plan, measure, orders, settled


def test_models_are_taken_in_turns_forwards_and_backwards() -> None:
    calls: list[str] = []
    looks: list[int] = []
    sessions = [Recorder("A", calls), Recorder("B", calls)]
    image = np.zeros((1, 3, 4, 4), np.float32)
    first, second = measure(sessions, [image, image], Plan(2, 64), QUIET, lambda: looks.append(len(calls)))
    assert "".join(calls) == ("ABBABAAB" * 17)[: 2 * 66]
    assert (len(first.samples), len(second.samples), len(first.warmup), first.steady) == (64, 64, 2, None)
    latency = latency_of([first], 3)
    assert latency.p50 <= latency.p90 <= max(first.samples)
    assert (latency.threads, latency.p50_ci, latency.p99, latency.p99_ci) == (3, None, None, None)
    assert len(looks) == 10
    assert gc.isenabled()


def test_warming_up_goes_on_until_times_are_steady(clock: Clock) -> None:
    slow = Slow(clock, *[0.002] * 4, *[0.001] * 4, 0.0005)
    (timed,) = measure([slow], [IMAGE], Plan(8, 64), QUIET)
    assert len(timed.warmup) == 15  # of the last eight one is slow, which no median shows
    assert (len(timed.samples), timed.steady) == (64, True)


def test_warming_up_ends_where_times_never_settle(clock: Clock) -> None:
    falling = [0.004 * 0.9**number for number in range(60)]
    (timed,) = measure([Slow(clock, *falling)], [IMAGE], Plan(8, 64), QUIET)
    assert (len(timed.warmup), timed.steady) == (40, False)
    assert settled(timed.warmup) is False


@pytest.mark.parametrize(("second", "steady"), [(1.049, True), (1.051, False), (0.951, True), (0.949, False)])
def test_halves_may_differ_by_a_twentieth(second: float, steady: bool) -> None:
    assert settled([1.0] * 10 + [second] * 10) is steady
    assert settled([1.0] * 10 + [9.0] + [second] * 10) is steady, "the middle one belongs to the second half"
    assert settled([1.0, 1.0, second]) is None


def test_measuring_goes_on_for_as_long_as_asked(clock: Clock) -> None:
    (timed,) = measure([Slow(clock, 0.0005)], [IMAGE], Plan(1, 64, seconds=0.1), QUIET)
    assert len(timed.samples) == pytest.approx(200, abs=1)
    (timed,) = measure([Slow(clock, 0.0005)], [IMAGE], Plan(1, 64, seconds=9), QUIET)
    assert len(timed.samples) == pytest.approx(18_000, abs=1)
    (timed,) = measure([Slow(clock, 1e-6)], [IMAGE], Plan(1, 64, seconds=9), QUIET)
    assert len(timed.samples) == MOST_SAMPLES
    (timed,) = measure([Slow(clock, 1e-6)], [IMAGE], Plan(1, 64, seconds=9, most=70), QUIET)
    assert len(timed.samples) == 70


@pytest.mark.parametrize("models", range(1, 8))
def test_no_model_has_a_place_or_within_a_round_a_neighbour_of_its_own(models: int) -> None:
    rounds = orders(models)
    assert all(later == earlier[::-1] for earlier, later in zip(rounds[::2], rounds[1::2], strict=True))
    for place in range(models):
        assert Counter(order[place] for order in rounds) == dict.fromkeys(range(models), 2)
    inside = Counter(pair for order in rounds for pair in pairwise(order))
    assert inside == dict.fromkeys(permutations(range(models), 2), 2)
    line = [model for order in rounds for model in order]
    between = list(zip(line, [*line[1:], line[0]], strict=True))[models - 1 :: models]
    after_itself = Counter(first for first, second in between if first == second)
    assert len(set(after_itself.values())) == 1 and len(after_itself) == models
