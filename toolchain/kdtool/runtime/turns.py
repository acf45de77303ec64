"""Timing of models in turns, for bench and for the choices of quantize.

If models were measured one after the other, a machine that warms up or slows down would affect them
unequally. So each round runs all models, in an order and then in its mirror image (A B B A). All samples are
kept.
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

CHECK_EVERY = 7  # rounds between two calls of `watch`; no divisor of the number of orders of few models
STEADY = 0.05  # allowed relative difference of the medians of the two halves
WINDOW = 4  # fewer samples are too few to compare halves
LONGEST_WARMUP = 5  # longest warm-up, as a multiple of the shortest


class Meter(Protocol):
    """Energy meter."""

    def joules(self) -> float:
        """Energy since a fixed moment, J."""


@dataclass(frozen=True)
class Plan:
    """Number of rounds: at least `warmup`, then at least `runs` rounds that last at least `seconds`.

    At most `most` rounds are timed: very small models end before `seconds`.
    """

    warmup: int
    runs: int
    seconds: float = 0.0
    most: int = MOST_SAMPLES


@dataclass(frozen=True)
class Timed:
    """Times of one model.

    Attributes:
        samples: times of the timed runs, ms.
        warmup: times of the warm-up runs, ms.
        steady: True if the times were steady at the end of the warm-up; None if it was too short to tell.
        joules: energy of the timed runs, J; None without a meter.
    """

    samples: tuple[float, ...]
    warmup: tuple[float, ...]
    steady: bool | None
    joules: float | None


def orders(models: int) -> list[list[int]]:
    """Orders of the rounds, to be repeated: Williams' design, each row followed by its mirror image.

    The model that ran before affects the time of a model: the weights of a large model drive those of others
    out of the cache. Over all rounds, each model is equally often in each place, and equally often directly
    after each other model. A drift of the machine affects all models equally, by the mirrored pairs. Example
    for two models: A B B A B A A B. Source: E. J. Williams, Aust. J. Sci. Res. 2 (1949) 149.
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
    """Time each session on its input tensor in `images`.

    The warm-up lasts until the times of each model are steady (the medians of the two halves of its last
    `warmup` samples differ by at most 5 %), but at most five times `plan.warmup` rounds.

    Args:
        images: one input tensor for each session, usually (N, 3, S, S).
        watch: called between some rounds, outside the timed part.
        meter: energy meter, read before and after each sample; None measures no energy.

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
        for number in range(plan.most):
            if number >= plan.runs and time.monotonic() - started >= plan.seconds:
                break
            visit()
            bar.advance()
    return [clock.read() for clock in clocks]


def settled(samples: Sequence[float]) -> bool | None:
    """True if the medians of both halves differ by at most 5 %; None if there are too few samples."""
    if len(samples) < WINDOW:
        return None
    half = len(samples) // 2
    first, second = median(samples[:half]), median(samples[half:])
    return abs(second - first) <= STEADY * first


class _Clock:
    """Samples of one model: first those of the warm-up, and after `begin` the timed ones."""

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
