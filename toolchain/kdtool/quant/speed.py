"""Is INT8 faster here? The ratio of medians over rounds that visited all models, and its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kdtool.core.preprocess import FloatArray
from kdtool.core.screen import Screen
from kdtool.machine.cpu import INT8_WORTH_IT, int8_target, processor_name
from kdtool.results.statistics import CONFIDENCE, speedup
from kdtool.runtime.session import Session
from kdtool.runtime.turns import Plan, measure

WARMUP, ROUNDS = 8, 64
UNNAMED = "an unnamed machine"  # in manifests of the first days

Times = npt.NDArray[np.float64]  # (rounds, models) milliseconds


@dataclass(frozen=True)
class Speed:
    """How many times as fast as the float model, by medians, with a 95 % interval.

    Attributes:
        machine: the processor it was measured on, and its kind: of no other is anything said.
    """

    ratio: float
    low: float
    high: float
    rounds: int
    threads: int
    machine: str

    @property
    def worth_it(self) -> bool:
        """Whether at least `INT8_WORTH_IT` times as fast, with confidence."""
        return self.low >= INT8_WORTH_IT

    def __str__(self) -> str:
        interval = f"{100 * CONFIDENCE:.0f} % interval {self.low:.2f} to {self.high:.2f}"
        return (
            f"{self.ratio:.2f} times as fast as float32 on {self.machine} ({interval}, {self.rounds} rounds, "
            f"{self.threads} thread(s))"
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "ratio": self.ratio,
            "ci": [self.low, self.high],
            "rounds": self.rounds,
            "threads": self.threads,
            "machine": self.machine,
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Speed:
        low, high = content["ci"]
        return cls(
            content["ratio"],
            low,
            high,
            content["rounds"],
            content["threads"],
            content.get("machine", UNNAMED),
        )


def take_turns(sessions: Sequence[Session], image: FloatArray, screen: Screen, rounds: int = ROUNDS) -> Times:
    """Milliseconds of each session on `image` (1, 3, S, S), round by round, after warming up."""
    timed = measure(sessions, [image] * len(sessions), Plan(WARMUP, rounds), screen)
    return np.array([one.samples for one in timed]).T


def this_machine() -> str:
    """Its processor and the kind of its 8-bit arithmetic."""
    return f"{processor_name()} ({int8_target()})"


def speed_of(slow: npt.ArrayLike, fast: npt.ArrayLike, threads: int, seed: int = 0) -> Speed:
    """Median of `slow` / median of `fast`, both (rounds,) milliseconds of the same rounds on this machine."""
    ratio = speedup(fast, slow, seed)
    return Speed(ratio.value, *ratio.interval, ratio.n, threads, this_machine())
