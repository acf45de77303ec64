"""From samples to percentiles, images per second and energy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from fixtures.clocks import IMAGE, Clock, Recorder, Slow
from fixtures.hosts import write
from kdtool.benchmark.timing.latency import (
    latency_against,
    latency_of,
    throughput_against,
    throughput_of,
)
from kdtool.core.errors import UsageError
from kdtool.core.screen import QUIET
from kdtool.machine.energy import open_meter
from kdtool.results.statistics.times import ratio_of_medians, speedup
from kdtool.runtime.turns import Plan, Timed, measure


def test_too_few_runs_are_refused() -> None:
    (timed,) = measure([Recorder("A", [])], [IMAGE], Plan(1, 21), QUIET)
    with pytest.raises(UsageError, match="p90 of 63 samples"):
        latency_of([timed] * 3, 1)


def session(*times: float) -> Timed:
    return Timed(times, (), True, None)


def test_intervals_are_those_of_students_test_over_sessions() -> None:
    """A session gives one value; the interval is that of a sixth session."""
    generator = np.random.default_rng(0)
    sessions = [session(*generator.lognormal(level, 0.1, 20)) for level in (1.0, 1.1, 1.05, 0.95, 1.2)]
    latency = latency_of(sessions, 1)
    logs = np.log([np.median(one.samples) for one in sessions])
    further = stats.t.ppf(0.975, 4) * logs.std(ddof=1) * np.sqrt(1 + 1 / 5)
    half = np.hypot(further, 1.959964 * 0.04)
    assert latency.p50 == pytest.approx(np.exp(logs.mean()))
    assert latency.p50_ci == pytest.approx((np.exp(logs.mean() - half), np.exp(logs.mean() + half)))
    assert latency.sessions == (20,) * 5
    assert latency.by_session == tuple(one.samples for one in sessions)
    offline = throughput_of(sessions, 4, 1)
    assert offline.images_per_s == pytest.approx(4000 / latency.p50)
    assert offline.images_per_s_ci == pytest.approx((4000 / latency.p50_ci[1], 4000 / latency.p50_ci[0]))
    assert offline.by_session == latency.by_session


def test_the_p90_of_few_times_has_the_right_rank() -> None:
    """Of 1 … 19: 0.9 · (19 + 1)."""
    latency = latency_of([session(*range(1, 20))] * 4, 1)
    assert latency.p90 == pytest.approx(18)
    half = np.exp(1.959964 * 0.04)
    assert latency.p90_ci == pytest.approx((18 / half, 18 * half))


def test_one_session_has_no_interval() -> None:
    one = latency_of([session(*np.linspace(1, 2, 64))], 1)
    assert (one.p50, one.p50_ci, one.p90_ci) == (1.5, None, None)
    against = latency_against(one, latency_of([session(*np.linspace(2, 4, 64))], 1))
    assert (against.ratio, against.ratio_ci) == (0.5, None)
    assert latency_against(one, one).ratio_ci == (1.0, 1.0), "of itself, by definition"


@pytest.mark.parametrize(
    ("steady", "whole"), [((True, True), True), ((True, None), None), ((None, False), False)]
)
def test_a_warm_up_is_steady_if_it_was_in_every_session(steady: Sequence[bool], whole: bool) -> None:
    sessions = [replace(session(*[1.0] * 64), steady=one) for one in steady]
    assert latency_of(sessions, 1).steady is whole


def test_what_slows_a_session_cancels_in_a_ratio() -> None:
    """Sessions of 1, 2 and 3 times the time: times are uncertain, the ratio to the reference is not."""
    own, reference = ([session(*[ms * level] * 30) for level in (1, 2, 3)] for ms in (2.0, 8.0))
    latency = latency_against(latency_of(own, 1), latency_of(reference, 1))
    assert latency.p50_ci[1] > 3 * latency.p50_ci[0]
    half = np.exp(1.959964 * 0.005)
    assert (latency.ratio, *latency.ratio_ci) == pytest.approx((0.25, 0.25 / half, 0.25 * half))
    offline = throughput_against(throughput_of(own, 4, 1), throughput_of(reference, 4, 1))
    assert (offline.ratio, *offline.ratio_ci) == pytest.approx((4, 4 / half, 4 * half))


def test_a_p99_wants_662_samples() -> None:
    few, enough = session(*np.linspace(1, 2, 330)), session(*np.linspace(1, 2, 331))
    assert latency_of([few, enough], 1).p99 is None
    latency = latency_of([enough, enough], 1)
    assert latency.p99_ci[0] <= latency.p99 <= latency.p99_ci[1]


def test_throughput_counts_images_and_their_energy(tmp_path: Path, clock: Clock) -> None:
    folder = "class/powercap/intel-rapl:0/"
    root = write(
        tmp_path,
        {folder + "name": "package-0", folder + "energy_uj": "0", folder + "max_energy_range_uj": "9000000"},
    )

    class Burning(Slow):
        def run(self, images: np.ndarray) -> np.ndarray:
            path = root / folder / "energy_uj"
            path.write_text(str(int(path.read_text()) + 4000))
            return super().run(images)

    (timed,) = measure([Burning(clock, 0.001)], [IMAGE], Plan(2, 20), QUIET, meter=open_meter(root))
    offline = throughput_of([timed, timed], 4, 1)
    assert offline.energy_mj == pytest.approx(1.0)  # 4 mJ a batch of 4
    assert throughput_of([timed, replace(timed, joules=None)], 4, 1).energy_mj is None
    assert offline.images_per_s == pytest.approx(4000 / float(np.median(timed.samples)))
    assert (offline.batch, offline.threads, len(offline.batch_ms), len(offline.warmup)) == (4, 1, 40, 4)


def test_a_ratio_knows_its_samples() -> None:
    found = speedup([1.0, 1.0, 2.0], [3.0, 3.0, 4.0])
    assert (found.value, found.n) == (3.0, 3)
    assert ratio_of_medians([3.0] * 3, [2.0] * 3).value == 1.5
    with pytest.raises(UsageError, match="p50 of 0 samples"):
        ratio_of_medians([], [])
