"""Is INT8 faster here? Models in turns (A B B A) on the same image, and an interval for the ratio.

A machine's load and clock drift; rounds that visit all models share it, and are resampled as wholes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kdtool.core.preprocess import FloatArray
from kdtool.core.screen import Screen
from kdtool.core.statistics import CONFIDENCE
from kdtool.runtime.session import Session

WARMUP, ROUNDS = 8, 64
RESAMPLES = 2000
WORTH_IT = 1.1  # times as fast as float32, at least, with confidence

Times = npt.NDArray[np.float64]  # (rounds, models) milliseconds


@dataclass(frozen=True)
class Speed:
    """How many times as fast as the float model, by medians, with a 95 % interval."""

    ratio: float
    low: float
    high: float
    rounds: int
    threads: int

    @property
    def worth_it(self) -> bool:
        """Whether at least `WORTH_IT` times as fast, with confidence."""
        return self.low >= WORTH_IT

    def __str__(self) -> str:
        interval = f"{100 * CONFIDENCE:.0f} % interval {self.low:.2f} to {self.high:.2f}"
        return (
            f"{self.ratio:.2f} times as fast as float32 here ({interval}, {self.rounds} rounds, "
            f"{self.threads} thread(s))"
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "ratio": self.ratio,
            "ci": [self.low, self.high],
            "rounds": self.rounds,
            "threads": self.threads,
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Speed:
        low, high = content["ci"]
        return cls(content["ratio"], low, high, content["rounds"], content["threads"])


def take_turns(sessions: Sequence[Session], image: FloatArray, screen: Screen, rounds: int = ROUNDS) -> Times:
    """Milliseconds of each session on `image` (1, 3, S, S), round by round, after warming up."""
    taken = np.zeros((WARMUP + rounds, len(sessions)))
    forwards = range(len(sessions))
    with screen.bar("latency", len(taken)) as bar:
        for number, row in enumerate(taken):
            for index in forwards if number % 2 == 0 else reversed(forwards):
                started = time.perf_counter_ns()
                sessions[index].run(image)
                row[index] = (time.perf_counter_ns() - started) / 1e6
            bar.advance()
    return taken[WARMUP:]


def speed_of(slow: npt.ArrayLike, fast: npt.ArrayLike, threads: int, seed: int = 0) -> Speed:
    """Median of `slow` / median of `fast`, both (rounds,), and its percentile bootstrap over rounds."""
    both = np.column_stack([np.asarray(slow, np.float64), np.asarray(fast, np.float64)])
    drawn = np.random.default_rng(seed).integers(0, len(both), (RESAMPLES, len(both)))
    medians = np.median(both[drawn], axis=1)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(medians[:, 0] / medians[:, 1], [tail, 1 - tail])
    ratio = float(np.median(both[:, 0]) / np.median(both[:, 1]))
    return Speed(ratio, float(low), float(high), len(both), threads)
