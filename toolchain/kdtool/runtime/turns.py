"""Timing models in turns: what bench reports and quantize chooses by.

Models measured one after the other would share the machine's warming up and slowing down unequally,
so each round visits all of them, in an order and then its mirror image (A B B A). Raw samples are kept.
"""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from statistics import median
from typing import Protocol

from kdtool.core.preprocess import FloatArray
from kdtool.core.screen import Screen
from kdtool.recipe.choices import MOST_SAMPLES
from kdtool.runtime.session import Session

CHECK_EVERY = 7  # rounds between looks at the machine; no divisor of the orders of few models
STEADY = 0.05  # medians of two halves may differ by this share
WINDOW = 4  # samples below which halves say nothing
LONGEST_WARMUP = 5  # times the shortest


class Meter(Protocol):
    """What counts energy."""

    def joules(self) -> float:
        """Since some moment."""


@dataclass(frozen=True)
class Plan:
    """At least `warmup` rounds to warm up, then at least `runs` rounds and `seconds` of them.

    More than `MOST_SAMPLES` are never kept: models so small end before `seconds`.
    """

    warmup: int
    runs: int
    seconds: float = 0.0


@dataclass(frozen=True)
class Timed:
    """One model's milliseconds. `steady` is None where warm-up was too short to tell."""

    samples: tuple[float, ...]
    warmup: tuple[float, ...]
    steady: bool | None
    joules: float | None


def orders(models: int) -> list[list[int]]:
    """The orders of the rounds, over and over: Williams' design, each row followed by its mirror image.

    What ran before changes how long a model takes: its own weights are still in the cache, or those of a
    large one have driven them out. Over all rounds each model stands in each place, and within a round after
    each other one, equally often; mirrored pairs share a drift of the machine equally. Two: A B B A B A A B.
    Source: E. J. Williams, Aust. J. Sci. Res. 2 (1949) 149.
    """
    zigzag = [place // 2 if place % 2 == 0 else models - 1 - place // 2 for place in range(models)]
    rows = [[(model + shift) % models for model in zigzag] for shift in range(models)]
    return [order for row in rows for order in (row, row[::-1])]


def measure(
    sessions: Sequence[Session],
    images: Sequence[FloatArray],
    plan: Plan,
    screen: Screen,
    watch: Callable[[], None] = lambda: None,
    title: str = "latency",
    meter: Meter | None = None,
) -> list[Timed]:
    """Time each session on its own images (N, 3, S, S).

    Warming up goes on until each model's times are steady (the medians of the two halves of its last
    `warmup` samples differ by less than a twentieth), or five times as long.

    Args:
        watch: called now and then between rounds, outside the timed part.
        meter: of energy, read before and after each sample; None leaves it out.

    Raises:
        ModelFileError: a model fails.
    """
    clocks = [_Clock(session, image, meter) for session, image in zip(sessions, images, strict=True)]
    rounds = enumerate(cycle(orders(len(clocks))))

    def visit() -> None:
        number, order = next(rounds)
        for place in order:
            clocks[place].sample()
        if number % CHECK_EVERY == 0:
            watch()

    with _no_garbage_collection(), screen.bar(title, plan.warmup + plan.runs) as bar:
        for _ in range(plan.warmup):
            visit()
            bar.advance()
        while not all(clock.steady(plan.warmup) for clock in clocks):
            if len(clocks[0].taken) >= LONGEST_WARMUP * plan.warmup:
                break
            visit()
        for clock in clocks:
            clock.begin(plan.warmup)
        started = time.monotonic()
        for number in range(MOST_SAMPLES):
            if number >= plan.runs and time.monotonic() - started >= plan.seconds:
                break
            visit()
            bar.advance()
    return [clock.read() for clock in clocks]


def settled(samples: Sequence[float]) -> bool | None:
    """Whether the medians of both halves agree; None of too few samples to tell."""
    if len(samples) < WINDOW:
        return None
    half = len(samples) // 2
    first, second = median(samples[:half]), median(samples[half:])
    return abs(second - first) <= STEADY * first


class _Clock:
    """Samples of one model: warm-up first, and from `begin` on those that count."""

    def __init__(self, session: Session, images: FloatArray, meter: Meter | None) -> None:
        self._session, self._images, self._meter = session, images, meter
        self.taken: list[float] = []
        self._warmup: list[float] = []
        self._joules = 0.0
        self._steady: bool | None = None

    def sample(self) -> None:
        before = self._meter.joules() if self._meter else 0.0
        start = time.perf_counter_ns()
        self._session.run(self._images)
        self.taken.append((time.perf_counter_ns() - start) / 1e6)
        if self._meter:
            self._joules += self._meter.joules() - before

    def steady(self, window: int) -> bool:
        return settled(self.taken[-window:]) is not False

    def begin(self, window: int) -> None:
        self._steady = settled(self.taken[-window:])
        self._warmup, self.taken, self._joules = self.taken, [], 0.0

    def read(self) -> Timed:
        joules = self._joules if self._meter else None
        return Timed(tuple(self.taken), tuple(self._warmup), self._steady, joules)


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
