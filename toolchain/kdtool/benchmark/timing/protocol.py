"""The protocol: cold start, then latency (single stream) and throughput (offline), also with one thread.

The models take turns in each of these series.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from kdtool.benchmark.candidates import Candidate
from kdtool.benchmark.timing.coldstart import Started, in_own_processes
from kdtool.benchmark.timing.latency import latency_against, latency_of, throughput_against, throughput_of
from kdtool.core.screen import Screen
from kdtool.machine.energy import open_meter
from kdtool.recipe.settings import BenchSettings
from kdtool.results.bench import Latency, OwnProcess, Throughput
from kdtool.runtime import load_runtime
from kdtool.runtime.session import Session
from kdtool.runtime.turns import WINDOW, Plan, measure

BATCH_WARMUP = WINDOW  # batches; fewer cannot show whether times are steady


@dataclass(frozen=True)
class Timings:
    """Times and memory of one candidate.

    Attributes:
        latencies, throughputs: first with the chosen number of threads, then with one thread; there are as
            many throughputs as latencies, or none.
        own_process: cold start and memory, measured in separate processes; None if not measured.
        failure: why a start in a separate process failed; empty if none failed.
    """

    latencies: tuple[Latency, ...]
    throughputs: tuple[Throughput, ...]
    own_process: OwnProcess | None
    failure: str = ""


def relative_to(timings: Timings, reference: Timings, seed: int) -> Timings:
    """Add the ratios to the times of the reference, for each number of threads."""
    latencies = zip(timings.latencies, reference.latencies, strict=True)
    throughputs = zip(timings.throughputs, reference.throughputs, strict=True)
    return replace(
        timings,
        latencies=tuple(latency_against(*pair, seed) for pair in latencies),
        throughputs=tuple(throughput_against(*pair, seed) for pair in throughputs),
    )


def measure_in_turns(
    candidates: Sequence[Candidate], settings: BenchSettings, screen: Screen, watch: Callable[[], None]
) -> list[Timings]:
    """Time the models.

    Args:
        watch: function that is called now and then, outside the timed parts.

    Raises:
        ModelFileError: a model fails.
        UsageError: a runtime is not installed.
    """
    sessions = [candidate.session for candidate in candidates]
    threads = max((session.threads for session in sessions), default=1)
    starts = [Started(None)] * len(candidates)
    if settings.cold_starts:
        models = [(model.runtime, model.session.path, model.image.shape) for model in candidates]
        starts = in_own_processes(models, threads, settings.cold_starts, screen)
        watch()
    series = [_both_ways(candidates, sessions, settings, screen, watch)]
    if settings.single_thread and threads > 1:
        with contextlib.ExitStack() as stack:
            one_thread = [
                load_runtime(model.runtime).open_model(model.session.path, 1) for model in candidates
            ]
            for session in one_thread:
                stack.callback(session.close)
            series.append(_both_ways(candidates, one_thread, settings, screen, watch))
    return [
        Timings(
            tuple(latencies[index] for latencies, _ in series),
            tuple(throughputs[index] for _, throughputs in series if throughputs),
            start.measured,
            start.failure,
        )
        for index, start in enumerate(starts)
    ]


def _both_ways(
    candidates: Sequence[Candidate],
    sessions: Sequence[Session],
    settings: BenchSettings,
    screen: Screen,
    watch: Callable[[], None],
) -> tuple[list[Latency], list[Throughput]]:
    """Measure latency, and throughput if batches are wanted."""
    latencies = _single_stream(candidates, sessions, settings, screen, watch)
    return latencies, _offline(candidates, sessions, settings, screen, watch) if settings.batch else []


def _single_stream(
    candidates: Sequence[Candidate],
    sessions: Sequence[Session],
    settings: BenchSettings,
    screen: Screen,
    watch: Callable[[], None],
) -> list[Latency]:
    plan = Plan(settings.warmup, settings.runs, settings.seconds)
    title = f"latency, {_threads(sessions)}"
    series = measure(sessions, [candidate.image for candidate in candidates], plan, screen, watch, title)
    return [latency_of(timed, session.threads) for timed, session in zip(series, sessions, strict=True)]


def _offline(
    candidates: Sequence[Candidate],
    sessions: Sequence[Session],
    settings: BenchSettings,
    screen: Screen,
    watch: Callable[[], None],
) -> list[Throughput]:
    batches = [np.repeat(candidate.image, settings.batch, axis=0) for candidate in candidates]
    plan = Plan(BATCH_WARMUP, settings.batches, settings.seconds)
    title = f"throughput, {_threads(sessions)}"
    series = measure(sessions, batches, plan, screen, watch, title, open_meter())
    return [
        throughput_of(timed, settings.batch, session.threads)
        for timed, session in zip(series, sessions, strict=True)
    ]


def _threads(sessions: Sequence[Session]) -> str:
    most = max((session.threads for session in sessions), default=1)
    return f"{most} thread{'' if most == 1 else 's'}"
