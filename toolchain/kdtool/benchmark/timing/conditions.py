"""The machine before, during and after a measurement, and what in it makes the figures doubtful."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kdtool.machine.cpu import PROC, is_emulated
from kdtool.machine.host import SYS, Host, is_raspberry_pi, read_moment, slowdowns, throttled_since_boot
from kdtool.recipe.choices import MOST_SAMPLES
from kdtool.results.bench import Latency, Throughput
from kdtool.runtime.turns import settled

EVERY = 1.0  # seconds between looks, which cost a Raspberry Pi some milliseconds
BUSY = 0.5  # processors at work for others before we started
OTHERS = 0.2  # processors at work for others meanwhile
STOLEN = 0.02  # share of the time that the hypervisor gave to other machines
UNEVEN = 0.10  # share by which the frequency changed
HOT = 80.0  # °C; a Raspberry Pi slows down from here
NOISY = 1.25  # p90 / p50


@dataclass(frozen=True)
class _Work:
    """Seconds of processor time: all programs', the hypervisor's for others, our own; and the clock."""

    busy: float
    stolen: float
    own: float
    clock: float


class Watch:
    """Looks at the machine while it measures. `moments` is what it saw."""

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
        """To be called as often as one likes."""
        if time.monotonic() >= self._next:
            self.moments.append(read_moment("during", self._proc, self._sys))
            self._next = time.monotonic() + EVERY

    def end(self) -> None:
        """The last look."""
        self.moments.append(read_moment("after", self._proc, self._sys))
        self._new = tuple(cause for cause in throttled_since_boot() if cause not in self._ever)
        self._after = _work(self._proc)
        self._counted = slowdowns(self._sys) - self._slowdowns

    def void(self) -> tuple[str, ...]:
        """Why latencies do not count: a Raspberry Pi slowed down at any moment, an emulated processor."""
        seen = {cause for moment in self.moments for cause in moment.throttling or ()}
        emulated = {"emulated processor"} if is_emulated(self._proc) else set()
        return tuple(sorted(seen | set(self._new) | emulated))

    def reasons(self, host: Host) -> list[str]:
        """What about the machine makes its figures doubtful."""
        found = []
        if host.load is not None and host.load > BUSY:
            found.append(f"the machine was busy before the measurement (load {host.load:.1f})")
        if host.governor not in (None, "performance"):
            found.append(f"the frequency governor is '{host.governor}', not 'performance'")
        if self._ever:
            found.append(
                f"the board was slowed down before, since its start ({', '.join(self._ever)}): what of this "
                "happens between two looks cannot be seen; restart it and measure again"
            )
        if is_raspberry_pi(host.processor) and any(moment.throttling is None for moment in self.moments):
            found.append(
                "whether the Raspberry Pi was slowed down could not be read (vcgencmd get_throttled)"
            )
        found += self._company()
        clocks = [moment.frequency_mhz for moment in self.moments if moment.frequency_mhz]
        if clocks and max(clocks) - min(clocks) > UNEVEN * max(clocks):
            found.append(f"the frequency went from {min(clocks):.0f} to {max(clocks):.0f} MHz")
        heat = [moment.temperature_c for moment in self.moments if moment.temperature_c is not None]
        if heat and max(heat) >= HOT:
            found.append(f"the processor was at {max(heat):.0f} °C")
        if self._counted > 0:
            found.append(f"the processor slowed itself down {self._counted} time(s) because of heat")
        return found

    def _company(self) -> list[str]:
        """Other programs, and other machines on the same processor."""
        before, after = self._work, self._after
        if before is None or after is None or after.clock <= before.clock:
            return []
        elapsed = after.clock - before.clock
        others = (after.busy - before.busy - (after.own - before.own)) / elapsed
        stolen = (after.stolen - before.stolen) / elapsed / (os.cpu_count() or 1)
        found = []
        if others > OTHERS:
            found.append(f"other programs kept {others:.1f} processors busy meanwhile")
        if stolen > STOLEN:
            found.append(f"the hypervisor took {100 * stolen:.0f} % of the processors for other machines")
        return found


def latency_reasons(latencies: Sequence[tuple[str, Latency]]) -> list[str]:
    """What about the samples makes them doubtful; pairs of model and latency."""
    found = []
    for about, names in (
        (
            f"latency is noisy (p90 over {NOISY:g} × p50)",
            [name for name, latency in latencies if latency.p90 > NOISY * latency.p50],
        ),
        (
            "warming up did not end in a steady state",
            [name for name, latency in latencies if latency.steady is False],
        ),
        (
            "the two halves of the samples differ",
            [name for name, latency in latencies if settled(latency.samples) is False],
        ),
        (
            f"measuring ended with the {MOST_SAMPLES:,} samples that are kept, whatever the minimum duration",
            [name for name, latency in latencies if len(latency.samples) == MOST_SAMPLES],
        ),
    ):
        if names:
            found.append(_of(about, names))
    return found


def throughput_reasons(throughputs: Sequence[tuple[str, Throughput]]) -> list[str]:
    """The same of batches; pairs of model and throughput."""
    restless = [name for name, one in throughputs if one.steady is False]
    drifting = [name for name, one in throughputs if settled(one.batch_ms) is False]
    found = [_of("warming up of batches did not end in a steady state", restless)] if restless else []
    return found + ([_of("the two halves of the batches differ", drifting)] if drifting else [])


def _of(about: str, names: Sequence[str]) -> str:
    return f"{about}: {', '.join(dict.fromkeys(names))}"


def _work(proc: Path) -> _Work | None:
    """From /proc/stat, whose fields are user, nice, system, idle, iowait, irq, softirq, steal, … in ticks."""
    try:
        fields = (proc / "stat").read_text("ascii").splitlines()[0].split()
        user, nice, system, _, _, irq, softirq, steal = (int(field) for field in fields[1:9])
        tick = os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return None
    own = os.times()
    spent = own.user + own.system + own.children_user + own.children_system
    return _Work((user + nice + system + irq + softirq) / tick, steal / tick, spent, time.monotonic())
