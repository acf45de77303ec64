"""The protocol: sessions that measure latency (single stream) and throughput (offline), and cold starts.

In each session, a process of its own, the models take turns: with the chosen number of threads, and also with
one thread. Cold starts come between sessions, which spreads the sessions over the whole measurement.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from kdtool.benchmark.candidates import Candidate
from kdtool.benchmark.timing.coldstart import ColdStarts
from kdtool.benchmark.timing.latency import latency_against, latency_of, throughput_against, throughput_of
from kdtool.benchmark.timing.sessions import Job, Series, run_session
from kdtool.core.screen import Screen
from kdtool.recipe.choices import MOST_SAMPLES
from kdtool.recipe.settings import BenchSettings
from kdtool.results.bench import Latency, OwnProcess, Throughput
from kdtool.runtime.turns import WINDOW, Plan

BATCH_WARMUP = 1  # batches: the memory for a batch is taken in the first; the model is warm already


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


def relative_to(timings: Timings, reference: Timings) -> Timings:
    """Add the ratios to the times of the reference, for each number of threads."""
    latencies = zip(timings.latencies, reference.latencies, strict=True)
    throughputs = zip(timings.throughputs, reference.throughputs, strict=True)
    return replace(
        timings,
        latencies=tuple(latency_against(*pair) for pair in latencies),
        throughputs=tuple(throughput_against(*pair) for pair in throughputs),
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
    threads = max((candidate.session.threads for candidate in candidates), default=1)
    models = [(model.runtime, model.session.path, model.image) for model in candidates]
    alone = [1] if settings.single_thread and threads > 1 else []
    job = Job(models, [threads, *alone], *plans(settings), settings.batch)
    starts = ColdStarts([(runtime, path, image.shape) for runtime, path, image in models], threads)
    sessions: list[list[Series]] = []
    total = settings.sessions * job.series + settings.cold_starts * len(models)
    with screen.bar("time", total) as bar:
        for number in range(max(settings.sessions, settings.cold_starts)):
            if number < settings.cold_starts:
                starts.once(bar)
                watch()
            if number < settings.sessions:
                sessions.append(run_session(job, watch, bar.advance))
    return [
        Timings(
            *_of_model(index, sessions, settings.batch),
            own_process=started.measured,
            failure=started.failure,
        )
        for index, started in enumerate(starts.results())
    ]


def plans(settings: BenchSettings) -> tuple[Plan, Plan | None]:
    """Plans of one session: latency, and throughput if it is measured. The settings are totals."""
    count = settings.sessions

    def part(total: int) -> int:
        return math.ceil(total / count)

    seconds, most = settings.seconds / count, part(MOST_SAMPLES)
    latency = Plan(max(WINDOW, part(settings.warmup)), part(settings.runs), seconds, most)
    throughput = Plan(BATCH_WARMUP, part(settings.batches), seconds, most) if settings.batch else None
    return latency, throughput


def _of_model(
    index: int, sessions: Sequence[Sequence[Series]], batch: int
) -> tuple[tuple[Latency, ...], tuple[Throughput, ...]]:
    """Figures of one model, for each number of threads."""
    latencies, throughputs = [], []
    for series in zip(*sessions, strict=True):
        threads = series[0].threads[index]
        latencies.append(latency_of([session.latency[index] for session in series], threads))
        if series[0].throughput:
            times = [session.throughput[index] for session in series]
            throughputs.append(throughput_of(times, batch, threads))
    return tuple(latencies), tuple(throughputs)
