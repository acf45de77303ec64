"""Speed of INT8 against FP32 on this machine: the ratio of median latencies and its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kdtool.core.preprocess import FloatArray
from kdtool.core.screen import Screen
from kdtool.machine.cpu import INT8_WORTH_IT, int8_target, processor_name
from kdtool.results.statistics.estimate import CONFIDENCE
from kdtool.results.statistics.times import speedup
from kdtool.runtime.onnxruntime import open_model
from kdtool.runtime.session import Session
from kdtool.runtime.turns import Plan, measure

WARMUP, ROUNDS = 8, 64
UNNAMED = "an unnamed machine"  # manifests of early versions do not name it

Times = npt.NDArray[np.float64]  # (rounds, models) milliseconds


@dataclass(frozen=True)
class Speed:
    """Speed-up of INT8: how many times as fast as the FP32 model, by median latencies.

    Attributes:
        low, high: 95 % interval of `ratio`.
        machine: the processor that the speed-up was measured on and is valid for, and its kind.
    """

    ratio: float
    low: float
    high: float
    rounds: int
    threads: int
    machine: str

    @property
    def worth_it(self) -> bool:
        """True if INT8 is at least `INT8_WORTH_IT` times as fast, with 95 % confidence."""
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
    """Measure the latency of each session on `image` (1, 3, S, S), round by round, after warming up."""
    latencies = measure(sessions, [image] * len(sessions), Plan(WARMUP, rounds), screen)
    return np.array([latency.samples for latency in latencies]).T


def this_machine() -> str:
    """Name of this machine's processor and the kind of its 8-bit arithmetic."""
    return f"{processor_name()} ({int8_target()})"


def speed_of_file(int8: Path, source: Path, image: FloatArray, screen: Screen) -> Speed:
    """Measure the speed of an INT8 file against its FP32 file `source` on this machine."""
    sessions = [open_model(source), open_model(int8)]
    try:
        times = take_turns(sessions, image, screen)
        return speed_of(times[:, 1], times[:, 0], sessions[0].threads)
    finally:
        for session in sessions:
            session.close()


def speed_of(times: npt.ArrayLike, reference: npt.ArrayLike, threads: int, seed: int = 0) -> Speed:
    """Speed-up over the reference, both (rounds,) milliseconds of the same rounds on this machine."""
    ratio = speedup(times, reference, seed)
    return Speed(ratio.value, *ratio.interval, ratio.n, threads, this_machine())
