"""Compute the reported figures from timed runs: percentiles with intervals, images per second, energy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kdtool.results.bench import Latency, Throughput
from kdtool.results.statistics.sessions import (
    quantile_of_sessions,
    ratio_of_sessions,
    speedup_of_sessions,
)
from kdtool.results.statistics.times import P99_SAMPLES
from kdtool.runtime.turns import Timed

ITSELF = (1.0, 1.0)


def latency_of(sessions: Sequence[Timed], threads: int) -> Latency:
    """Compute percentiles with intervals; p99 only from enough samples.

    Args:
        sessions: times of one model, by session.

    Raises:
        UsageError: there are fewer than 64 samples, too few for p90.
    """
    times = [timed.samples for timed in sessions]
    p50, p90 = quantile_of_sessions(times, 0.5), quantile_of_sessions(times, 0.9)
    p99 = quantile_of_sessions(times, 0.99) if sum(map(len, times)) >= P99_SAMPLES else None
    return Latency(
        p50=p50.value,
        p90=p90.value,
        samples=_joined(times),
        warmup=_joined([timed.warmup for timed in sessions]),
        threads=threads,
        p99=p99.value if p99 else None,
        p50_ci=p50.interval,
        p90_ci=p90.interval,
        p99_ci=p99.interval if p99 else None,
        steady=_steady(sessions),
        sessions=tuple(map(len, times)),
    )


def throughput_of(sessions: Sequence[Timed], batch: int, threads: int) -> Throughput:
    """Compute images per second from the median batch, and the energy of one image.

    Args:
        sessions: times of one model, by session.
        batch: number of images in each batch.
    """
    times = [timed.samples for timed in sessions]
    median = quantile_of_sessions(times, 0.5)
    images = batch * sum(map(len, times))
    energies = [timed.joules for timed in sessions if timed.joules is not None]
    return Throughput(
        batch=batch,
        threads=threads,
        images_per_s=1000 * batch / median.value,
        images_per_s_ci=(
            (1000 * batch / median.interval[1], 1000 * batch / median.interval[0])
            if median.interval
            else None
        ),
        batch_ms=_joined(times),
        warmup=_joined([timed.warmup for timed in sessions]),
        energy_mj=1000 * sum(energies) / images if len(energies) == len(sessions) else None,
        steady=_steady(sessions),
        sessions=tuple(map(len, times)),
    )


def latency_against(latency: Latency, reference: Latency) -> Latency:
    """Add the ratio to the reference; both were measured in the same sessions, in turns."""
    if latency is reference:
        return replace(latency, ratio=1.0, ratio_ci=ITSELF)
    ratio = ratio_of_sessions(latency.by_session, reference.by_session)
    return replace(latency, ratio=ratio.value, ratio_ci=ratio.interval)


def throughput_against(throughput: Throughput, reference: Throughput) -> Throughput:
    """Add the ratio to the reference; batches are as large, and of the same sessions, in turns."""
    if throughput is reference:
        return replace(throughput, ratio=1.0, ratio_ci=ITSELF)
    ratio = speedup_of_sessions(throughput.by_session, reference.by_session)
    return replace(throughput, ratio=ratio.value, ratio_ci=ratio.interval)


def _joined(parts: Sequence[tuple[float, ...]]) -> tuple[float, ...]:
    return tuple(time for part in parts for time in part)


def _steady(sessions: Sequence[Timed]) -> bool | None:
    """False if the warm-up of a session did not end in a steady state; None if one was too short to tell."""
    found = {timed.steady for timed in sessions}
    return False if False in found else None if None in found else True
