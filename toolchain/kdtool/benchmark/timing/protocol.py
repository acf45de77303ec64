"""The protocol: cold start, single stream, offline, the last two also with one thread; models in turns."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from kdtool.benchmark.timing.coldstart import Started, in_own_processes
from kdtool.benchmark.timing.latency import latency_of, throughput_of
from kdtool.core.screen import Screen
from kdtool.machine.energy import open_meter
from kdtool.recipe.settings import BenchSettings
from kdtool.results.bench import Latency, OwnProcess, Throughput
from kdtool.runtime import load_runtime
from kdtool.runtime.session import Session
from kdtool.runtime.signature import Tensor
from kdtool.runtime.turns import WINDOW, Plan, measure

BATCH_WARMUP = WINDOW  # batches; with fewer nobody can say whether times are steady


@dataclass(frozen=True)
class Candidate:
    """A loaded model, the runtime that opened it, and the one image it is timed on, as it wants it."""

    runtime: str
    session: Session
    image: Tensor


@dataclass(frozen=True)
class Measured:
    """What the protocol found of one model.

    Attributes:
        latencies, throughputs: with the threads that were asked for, then with one; of throughputs as
            many as of latencies, or none.
        failure: why it did not start in a process of its own.
    """

    latencies: tuple[Latency, ...]
    throughputs: tuple[Throughput, ...]
    own_process: OwnProcess | None
    failure: str = ""


def measure_in_turns(
    candidates: Sequence[Candidate], settings: BenchSettings, screen: Screen, watch: Callable[[], None]
) -> list[Measured]:
    """Time the models.

    Args:
        watch: called now and then, outside the timed parts.

    Raises:
        ModelFileError: a model fails.
        UsageError: a runtime that is not installed.
    """
    sessions = [candidate.session for candidate in candidates]
    threads = max((session.threads for session in sessions), default=1)
    own = [Started(None)] * len(candidates)
    if settings.cold_starts:
        models = [(one.runtime, one.session.path, one.image.shape) for one in candidates]
        own = in_own_processes(models, threads, settings.cold_starts, screen)
        watch()
    series = [_both_ways(candidates, sessions, settings, screen, watch)]
    if settings.single_thread and threads > 1:
        with contextlib.ExitStack() as stack:
            alone = [load_runtime(one.runtime).open_model(one.session.path, 1) for one in candidates]
            for session in alone:
                stack.callback(session.close)
            series.append(_both_ways(candidates, alone, settings, screen, watch))
    return [
        Measured(
            tuple(latencies[index] for latencies, _ in series),
            tuple(throughputs[index] for _, throughputs in series if throughputs),
            process.found,
            process.failure,
        )
        for index, process in enumerate(own)
    ]


def _both_ways(
    candidates: Sequence[Candidate],
    sessions: Sequence[Session],
    settings: BenchSettings,
    screen: Screen,
    watch: Callable[[], None],
) -> tuple[list[Latency], list[Throughput]]:
    """Single stream, and offline where batches are wanted."""
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
    timed = measure(sessions, [one.image for one in candidates], plan, screen, watch, title)
    return [latency_of(one, session.threads) for one, session in zip(timed, sessions, strict=True)]


def _offline(
    candidates: Sequence[Candidate],
    sessions: Sequence[Session],
    settings: BenchSettings,
    screen: Screen,
    watch: Callable[[], None],
) -> list[Throughput]:
    batches = [np.repeat(one.image, settings.batch, axis=0) for one in candidates]
    plan = Plan(BATCH_WARMUP, settings.batches, settings.seconds)
    title = f"throughput, {_threads(sessions)}"
    timed = measure(sessions, batches, plan, screen, watch, title, open_meter())
    return [
        throughput_of(one, settings.batch, session.threads)
        for one, session in zip(timed, sessions, strict=True)
    ]


def _threads(sessions: Sequence[Session]) -> str:
    most = max((session.threads for session in sessions), default=1)
    return f"{most} thread{'' if most == 1 else 's'}"
