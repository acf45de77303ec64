"""Compute the reported figures from timed runs: percentiles with intervals, images per second, energy."""

from __future__ import annotations

from dataclasses import replace

from kdtool.results.bench import Latency, Throughput
from kdtool.results.statistics import (
    P99_SAMPLES,
    Interval,
    quantile,
    quantile_interval,
    ratio_of_medians,
    speedup,
)
from kdtool.runtime.turns import Timed


def latency_of(timed: Timed, threads: int) -> Latency:
    """Compute percentiles with intervals; p99 only from enough samples.

    Raises:
        UsageError: there are fewer than 64 samples, too few for p90.
    """
    samples = timed.samples
    enough = len(samples) >= P99_SAMPLES
    return Latency(
        p50=quantile(samples, 0.5),
        p90=quantile(samples, 0.9),
        samples=samples,
        warmup=timed.warmup,
        threads=threads,
        p99=quantile(samples, 0.99) if enough else None,
        p50_ci=quantile_interval(samples, 0.5),
        p90_ci=quantile_interval(samples, 0.9),
        p99_ci=quantile_interval(samples, 0.99) if enough else None,
        steady=timed.steady,
    )


def throughput_of(timed: Timed, batch: int, threads: int) -> Throughput:
    """Compute images per second from the median batch, and the energy of one image.

    Args:
        batch: number of images in each batch.
    """
    interval = quantile_interval(timed.samples, 0.5)
    per_second: Interval | None = None
    if interval is not None:
        per_second = (1000 * batch / interval[1], 1000 * batch / interval[0])
    images = batch * len(timed.samples)
    return Throughput(
        batch=batch,
        threads=threads,
        images_per_s=1000 * batch / quantile(timed.samples, 0.5),
        images_per_s_ci=per_second,
        batch_ms=timed.samples,
        warmup=timed.warmup,
        energy_mj=None if timed.joules is None else 1000 * timed.joules / images,
        steady=timed.steady,
    )


def latency_against(latency: Latency, reference: Latency, seed: int) -> Latency:
    """Add the ratio to the reference; sample n of both was taken in the same round."""
    ratio = ratio_of_medians(latency.samples, reference.samples, seed)
    return replace(latency, ratio=ratio.value, ratio_ci=ratio.interval)


def throughput_against(throughput: Throughput, reference: Throughput, seed: int) -> Throughput:
    """Add the ratio to the reference; batches are as large, sample n of both was taken in the same round."""
    ratio = speedup(throughput.batch_ms, reference.batch_ms, seed)
    return replace(throughput, ratio=ratio.value, ratio_ci=ratio.interval)
