"""How long one image takes: single stream, batch 1, models taken in turns.

Models measured one after the other would share the machine's warming up and slowing down unequally,
so each round visits all of them, forwards and backwards in turn (A B B A). Raw samples are kept.
"""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Callable, Iterator, Sequence

from kdtool.core.benchresult import Latency
from kdtool.core.preprocess import FloatArray
from kdtool.core.screen import Screen
from kdtool.core.statistics import quantile
from kdtool.runtime.session import Session

CHECK_EVERY = 8  # rounds between looks at the machine, which cost a Raspberry Pi some milliseconds


def measure(
    sessions: Sequence[Session],
    images: Sequence[FloatArray],
    warmup: int,
    runs: int,
    screen: Screen,
    watch: Callable[[], None] = lambda: None,
) -> list[Latency]:
    """Time each session on its own image (1, 3, S, S), `warmup` + `runs` times.

    Args:
        watch: called now and then between rounds, outside the timed part.

    Raises:
        ModelFileError: a model fails.
        UsageError: fewer than 64 runs, too few for a p90.
    """
    taken: list[list[float]] = [[] for _ in sessions]
    forwards = range(len(sessions))
    with _no_garbage_collection(), screen.bar("latency", warmup + runs) as bar:
        for round_number in range(warmup + runs):
            for index in forwards if round_number % 2 == 0 else reversed(forwards):
                taken[index].append(_milliseconds(sessions[index], images[index]))
            if round_number % CHECK_EVERY == 0:
                watch()
            bar.advance()
    return [
        Latency(
            quantile(all_[warmup:], 0.5),
            quantile(all_[warmup:], 0.9),
            tuple(all_[warmup:]),
            tuple(all_[:warmup]),
            session.threads,
        )
        for session, all_ in zip(sessions, taken, strict=True)
    ]


def _milliseconds(session: Session, image: FloatArray) -> float:
    start = time.perf_counter_ns()
    session.run(image)
    return (time.perf_counter_ns() - start) / 1e6


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
