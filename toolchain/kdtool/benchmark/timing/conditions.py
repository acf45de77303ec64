"""Watch the machine before, during and after a measurement, and say what makes the figures doubtful."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kdtool.machine.cpu import PROC, is_emulated
from kdtool.machine.host import HOT, SYS, Host, is_raspberry_pi, read_moment, slowdowns, throttled_since_boot
from kdtool.recipe.choices import MOST_SAMPLES
from kdtool.results.bench import Latency, Throughput
from kdtool.runtime.turns import settled

EVERY = 1.0  # seconds between two looks; a look costs a Raspberry Pi some milliseconds
BUSY = 0.5  # processors that other programs used before the measurement
OTHERS = 0.2  # processors that other programs used during the measurement
STOLEN = 0.02  # share of the time that the hypervisor gave to other machines
UNEVEN = 0.10  # relative change of the frequency
NOISY = 1.25  # p90 / p50


@dataclass(frozen=True)
class _Work:
    """Processor time until one moment, in seconds.

    Attributes:
        busy: time of all programs.
        stolen: time that the hypervisor gave to other machines.
        kdtool: time of this process and its children.
        clock: monotonic clock.
    """

    busy: float
    stolen: float
    kdtool: float
    clock: float


class Watch:
    """Observer of the machine during a measurement; `moments` has its observations."""

    def __init__(self, proc: Path = PROC, sys: Path = SYS) -> None:
        self._proc, self._sys = proc, sys
        self.moments = [read_moment("before", proc, sys)]
        self._ever = throttled_since_boot()
        self._slowdowns = slowdowns(sys)
        self._work = _work(proc)
        self._next = time.monotonic() + EVERY
        self._new: tuple[str, ...] = ()
        self._after = self._work
        self._counted = 0

    def look(self) -> None:
        """Observe the machine if the last look is long enough ago; may be called at any rate."""
        if time.monotonic() >= self._next:
            self.moments.append(read_moment("during", self._proc, self._sys))
            self._next = time.monotonic() + EVERY

    def end(self) -> None:
        """Observe the machine for the last time."""
        self.moments.append(read_moment("after", self._proc, self._sys))
        self._new = tuple(cause for cause in throttled_since_boot() if cause not in self._ever)
        self._after = _work(self._proc)
        self._counted = slowdowns(self._sys) - self._slowdowns

    def void(self) -> tuple[str, ...]:
        """List why latencies are void: a Raspberry Pi slowed down, or the processor is emulated."""
        seen = {cause for moment in self.moments for cause in moment.throttling or ()}
        emulated = {"emulated processor"} if is_emulated(self._proc) else set()
        return tuple(sorted(seen | set(self._new) | emulated))

    def reasons(self, host: Host) -> list[str]:
        """List everything about the machine that makes the figures doubtful."""
        doubts = []
        if host.load is not None and host.load > BUSY:
            doubts.append(f"the machine was busy before the measurement (load {host.load:.1f})")
        if host.governor not in (None, "performance"):
            doubts.append(f"the frequency governor is '{host.governor}', not 'performance'")
        if self._ever:
            doubts.append(
                f"the board slowed down earlier since its start ({', '.join(self._ever)}), so kdtool cannot "
                "see whether it slows down again between two looks; restart it and measure again"
            )
        if is_raspberry_pi(host.processor) and any(moment.throttling is None for moment in self.moments):
            doubts.append(
                "whether the Raspberry Pi was slowed down could not be read (vcgencmd get_throttled)"
            )
        doubts += self._other_load()
        clocks = [moment.frequency_mhz for moment in self.moments if moment.frequency_mhz]
        if clocks and max(clocks) - min(clocks) > UNEVEN * max(clocks):
            doubts.append(f"the frequency went from {min(clocks):.0f} to {max(clocks):.0f} MHz")
        heat = [moment.temperature_c for moment in self.moments if moment.temperature_c is not None]
        if heat and max(heat) >= HOT:
            doubts.append(f"the processor was at {max(heat):.0f} °C")
        if self._counted > 0:
            doubts.append(f"the processor slowed down {self._counted} time(s) because of heat")
        return doubts

    def _other_load(self) -> list[str]:
        """List the load by other programs and by other machines on the same processor."""
        before, after = self._work, self._after
        if before is None or after is None or after.clock <= before.clock:
            return []
        elapsed = after.clock - before.clock
        others = (after.busy - before.busy - (after.kdtool - before.kdtool)) / elapsed
        stolen = (after.stolen - before.stolen) / elapsed / (os.cpu_count() or 1)
        doubts = []
        if others > OTHERS:
            doubts.append(f"other programs used {others:.1f} processors during the measurement")
        if stolen > STOLEN:
            doubts.append(f"the hypervisor took {100 * stolen:.0f} % of the processors for other machines")
        return doubts


def latency_reasons(latencies: Sequence[tuple[str, Latency]]) -> list[str]:
    """List everything about the samples that makes them doubtful.

    Args:
        latencies: pairs of a model's name and its latency.
    """
    doubts = []
    for doubt, names in (
        (
            f"latency is noisy (p90 over {NOISY:g} × p50)",
            [name for name, latency in latencies if latency.p90 > NOISY * latency.p50],
        ),
        (
            "the warm-up did not end in a steady state",
            [name for name, latency in latencies if latency.steady is False],
        ),
        (
            "the two halves of the samples differ",
            [name for name, latency in latencies if settled(latency.samples) is False],
        ),
        (
            f"the measurement ended before its minimum duration, at the limit of {MOST_SAMPLES:,} samples",
            [name for name, latency in latencies if len(latency.samples) >= MOST_SAMPLES],
        ),
    ):
        if names:
            doubts.append(_with_names(doubt, names))
    return doubts


def throughput_reasons(throughputs: Sequence[tuple[str, Throughput]]) -> list[str]:
    """List everything about the batches that makes them doubtful.

    Args:
        throughputs: pairs of a model's name and its throughput.
    """
    unsteady = [name for name, series in throughputs if series.steady is False]
    drifting = [name for name, series in throughputs if settled(series.batch_ms) is False]
    doubts = []
    if unsteady:
        doubts.append(_with_names("the warm-up of the batches did not end in a steady state", unsteady))
    if drifting:
        doubts.append(_with_names("the two halves of the batches differ", drifting))
    return doubts


def _with_names(doubt: str, names: Sequence[str]) -> str:
    return f"{doubt}: {', '.join(dict.fromkeys(names))}"


def _work(proc: Path) -> _Work | None:
    """Read /proc/stat, whose fields are user, nice, system, idle, iowait, irq, softirq, steal, … in ticks."""
    try:
        fields = (proc / "stat").read_text("ascii").splitlines()[0].split()
        user, nice, system, _, _, irq, softirq, steal = (int(field) for field in fields[1:9])
        tick = os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return None
    times = os.times()
    spent = times.user + times.system + times.children_user + times.children_system
    return _Work((user + nice + system + irq + softirq) / tick, steal / tick, spent, time.monotonic())
