"""Sessions that take the time they are told, and the clock that believes them."""

from __future__ import annotations

import gc

import numpy as np

IMAGE = np.zeros((1, 3, 4, 4), np.float32)


class Clock:
    """The time as `kdtool.runtime.turns` sees it; it goes on by what the models say they take."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter_ns(self) -> int:
        return round(1e9 * self.now)

    def monotonic(self) -> float:
        return self.now


class Slow:
    """A session that takes as long as it is told: `times` first, and the last of them from then on."""

    threads = 1

    def __init__(self, clock: Clock, *times: float) -> None:
        self.clock, self.times = clock, list(times)

    def run(self, images: np.ndarray) -> np.ndarray:
        self.clock.now += self.times.pop(0) if len(self.times) > 1 else self.times[0]
        return np.zeros((1, 2), np.float32)


class Recorder:
    """A session that notes when it is called."""

    threads = 3

    def __init__(self, name: str, calls: list[str]) -> None:
        self.name, self.calls = name, calls

    def run(self, images: np.ndarray) -> np.ndarray:
        assert images.shape == (1, 3, 4, 4)
        assert not gc.isenabled()
        self.calls.append(self.name)
        return np.zeros((1, 2), np.float32)
