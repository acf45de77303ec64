"""The protocol: cold start, single stream, one thread, offline, all models in turns throughout."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from kdtool.bench.energy import open_meter
from kdtool.bench.latency import latency_of, throughput_of
from kdtool.bench.ownprocess import Started, in_own_processes
from kdtool.core.benchresult import Latency, OwnProcess, Throughput
from kdtool.core.preprocess import FloatArray
from kdtool.core.recipe import BenchSettings
from kdtool.core.screen import Screen
from kdtool.runtime import load_runtime
from kdtool.runtime.session import Session
from kdtool.runtime.turns import Plan, measure

BATCH_WARMUP = 2


@dataclass(frozen=True)
class Candidate:
    """A loaded model, the runtime that opened it, and the image (1, 3, S, S) it is timed on."""

    runtime: str
    session: Session
    image: FloatArray


@dataclass(frozen=True)
class Measured:
    """What the protocol found of one model; `failure`: why it did not start in a process of its own."""

    latency: Latency
    other_threads: tuple[Latency, ...]
    throughput: Throughput | None
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
    latencies = _single_stream(candidates, sessions, settings, screen, watch)
    alone: Sequence[Latency | None] = [None] * len(candidates)
    if settings.single_thread and threads > 1:
        with contextlib.ExitStack() as stack:
            single = [load_runtime(one.runtime).open_model(one.session.path, 1) for one in candidates]
            for session in single:
                stack.callback(session.close)
            alone = _single_stream(candidates, single, settings, screen, watch)
    offline: Sequence[Throughput | None] = [None] * len(candidates)
    if settings.batch:
        offline = _offline(candidates, settings, screen, watch)
    return [
        Measured(latency, (one,) if one else (), throughput, process.found, process.failure)
        for latency, one, throughput, process in zip(latencies, alone, offline, own, strict=True)
    ]


def _single_stream(
    candidates: Sequence[Candidate],
    sessions: Sequence[Session],
    settings: BenchSettings,
    screen: Screen,
    watch: Callable[[], None],
) -> list[Latency]:
    plan = Plan(settings.warmup, settings.runs, settings.seconds)
    threads = max((session.threads for session in sessions), default=1)
    title = f"latency, {threads} thread{'' if threads == 1 else 's'}"
    timed = measure(sessions, [one.image for one in candidates], plan, screen, watch, title)
    return [latency_of(one, session.threads) for one, session in zip(timed, sessions, strict=True)]


def _offline(
    candidates: Sequence[Candidate], settings: BenchSettings, screen: Screen, watch: Callable[[], None]
) -> list[Throughput]:
    batches = [np.repeat(one.image, settings.batch, axis=0) for one in candidates]
    plan = Plan(BATCH_WARMUP, settings.batches)
    sessions = [one.session for one in candidates]
    timed = measure(sessions, batches, plan, screen, watch, "throughput", open_meter())
    return [
        throughput_of(one, settings.batch, session.threads)
        for one, session in zip(timed, sessions, strict=True)
    ]
