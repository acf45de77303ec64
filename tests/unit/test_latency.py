"""From samples to percentiles, images per second and energy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

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
from kdtool.results.statistics import ratio_of_medians, speedup
from kdtool.runtime.turns import Plan, Timed, measure


def test_too_few_runs_are_refused() -> None:
    (timed,) = measure([Recorder("A", [])], [IMAGE], Plan(1, 63), QUIET)
    with pytest.raises(UsageError, match="p90 of 63 samples"):
        latency_of(timed, 1)


def test_intervals_are_ranks_of_the_samples_and_hold_their_estimates(clock: Clock) -> None:
    """Times of 1 to 64 ms: ranks 24 and 41 of 64 are the binomial's for a median, 53 and 63 for a p90."""
    times = np.random.default_rng(0).permutation(64) + 1
    slow = Slow(clock, 0.001, *(times / 1000))
    (timed,) = measure([slow], [IMAGE], Plan(1, 64), QUIET)
    latency = latency_of(timed, 1)
    assert latency.p50_ci == pytest.approx((24, 41))
    assert latency.p90_ci == pytest.approx((53, 63))
    assert latency.p50 == pytest.approx(32.5)
    offline = throughput_of(timed, 4, 1)
    assert offline.images_per_s_ci == pytest.approx((4000 / 41, 4000 / 24)), "the slow batch is the low end"
    assert offline.images_per_s_ci[0] < offline.images_per_s < offline.images_per_s_ci[1]


def test_ratios_are_of_the_same_rounds() -> None:
    """The machine slows two models together, up to twice: their ratio does not waver, either way up."""
    drift = 1 + np.random.default_rng(1).permutation(64) / 64
    own, reference = (
        Timed(tuple(ms * drift * wobble), (), True, None)
        for ms, wobble in ((2.0, np.tile([1.0, 1.01], 32)), (8.0, np.ones(64)))
    )
    latency = latency_against(latency_of(own, 1), latency_of(reference, 1), 0)
    low, high = latency.ratio_ci
    assert 0.25 - 1e-9 <= low <= latency.ratio <= high <= 0.2525 + 1e-9
    assert low < high
    offline = throughput_against(throughput_of(own, 4, 1), throughput_of(reference, 4, 1), 0)
    low, high = offline.ratio_ci
    assert 4 / 1.01 - 1e-9 <= low <= offline.ratio <= high <= 4 + 1e-9
    assert low < high


def test_a_p99_wants_662_samples() -> None:
    (timed,) = measure([Recorder("A", [])], [IMAGE], Plan(1, 662), QUIET)
    latency = latency_of(timed, 1)
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
    offline = throughput_of(timed, 4, 1)
    assert offline.energy_mj == pytest.approx(1.0)  # 4 mJ a batch of 4
    assert offline.images_per_s == pytest.approx(4000 / float(np.median(timed.samples)))
    assert offline.images_per_s_ci[0] <= offline.images_per_s <= offline.images_per_s_ci[1]
    assert (offline.batch, offline.threads, len(offline.batch_ms), len(offline.warmup)) == (4, 1, 20, 2)


def test_a_ratio_of_times_is_own_over_reference_and_of_throughput_the_other_way() -> None:
    generator = np.random.default_rng(0)
    fast, slow = (
        Timed(tuple(scale * generator.uniform(0.9, 1.1, 100)), (), True, None) for scale in (2.0, 8.0)
    )
    latency = latency_against(latency_of(fast, 1), latency_of(slow, 1), 0)
    assert latency.ratio == np.median(fast.samples) / np.median(slow.samples)
    assert 0.2 < latency.ratio_ci[0] < latency.ratio < latency.ratio_ci[1] < 0.3
    offline = throughput_against(throughput_of(fast, 4, 1), throughput_of(slow, 4, 1), 0)
    assert offline.ratio == pytest.approx(1 / latency.ratio)
    assert 3.5 < offline.ratio_ci[0] < offline.ratio < offline.ratio_ci[1] < 4.5


def test_a_ratio_knows_its_samples() -> None:
    found = speedup([1.0, 1.0, 2.0], [3.0, 3.0, 4.0], of="batches")
    assert (found.value, found.n, found.of) == (3.0, 3, "batches")
    assert ratio_of_medians([3.0] * 3, [1.0] * 3).value == 3.0
    with pytest.raises(UsageError, match="p50 of 0 samples"):
        ratio_of_medians([], [])
