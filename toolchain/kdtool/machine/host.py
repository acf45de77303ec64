"""Facts about this machine; a fact that cannot be read is None."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from kdtool.machine.cpu import PROC, cpu_flags, int8_kind, processor_name
from kdtool.machine.packages import required, versions_of
from kdtool.machine.threads import usable_threads

SYS = Path("/sys")
HOT = 80.0  # °C; a Raspberry Pi slows down from this temperature
# Bits 0 to 3 of `vcgencmd get_throttled`, from Raspberry Pi's documentation: the state at this moment.
THROTTLING = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}
SINCE_BOOT = 16  # the same four states begin again at this bit: any time since the machine was started


@dataclass(frozen=True)
class Host:
    """Machine that a figure was measured on. A fact that cannot be read is None.

    Attributes:
        flags: instructions that matter for INT8.
        cores: number of processors of the machine.
        usable: number of processors that this process may use.
        load: mean number of busy processors in the minute before.
    """

    processor: str
    machine: str
    flags: tuple[str, ...]
    cores: int
    usable: int
    memory_bytes: int | None
    governor: str | None
    frequency_mhz: float | None
    temperature_c: float | None
    throttling: tuple[str, ...] | None
    load: float | None
    os: str
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def int8_target(self) -> str:
        """Target of INT8 files for this processor (see `kdtool.machine.cpu.int8_kind`)."""
        return int8_kind(self.flags, self.machine)

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"int8_target": self.int8_target}

    def __str__(self) -> str:
        """Name of the machine, for a sentence about a time."""
        return f"{self.processor or self.machine} ({self.int8_target})"


@dataclass(frozen=True)
class Moment:
    """State of the machine that changes while it works. A value that cannot be read is None."""

    when: Literal["before", "during", "after"]
    governor: str | None
    frequency_mhz: float | None
    temperature_c: float | None
    throttling: tuple[str, ...] | None
    load: float | None


def read_host(proc: Path = PROC, sys: Path = SYS) -> Host:
    """Read the facts about this machine and its state now."""
    return Host(
        processor=processor_name(proc),
        machine=platform.machine(),
        flags=cpu_flags(proc),
        cores=os.cpu_count() or 1,
        usable=usable_threads(proc),
        memory_bytes=_memory(proc),
        governor=_governor(sys),
        frequency_mhz=_frequency(sys),
        temperature_c=temperature(sys),
        throttling=throttling(),
        load=_load(proc),
        os=_os_name(),
        versions=versions_of(required()),
    )


def temperature(sys: Path = SYS) -> float | None:
    """Temperature of the hottest zone, °C; None if it cannot be read."""
    zones = [_scaled(path / "temp", 1000) for path in sorted((sys / "class/thermal").glob("thermal_zone*"))]
    return max((zone for zone in zones if zone is not None), default=None)


def read_moment(when: Literal["before", "during", "after"], proc: Path = PROC, sys: Path = SYS) -> Moment:
    """Read the state of the machine now.

    Args:
        when: moment of the measurement.
    """
    return Moment(
        when=when,
        governor=_governor(sys),
        frequency_mhz=_frequency(sys),
        temperature_c=temperature(sys),
        throttling=throttling(),
        load=_load(proc),
    )


def throttling() -> tuple[str, ...] | None:
    """Reasons why a Raspberry Pi is slowed down at this moment; None if there is no `vcgencmd`."""
    bits = _throttled()
    return None if bits is None else tuple(name for bit, name in THROTTLING.items() if bits >> bit & 1)


def throttled_since_boot() -> tuple[str, ...]:
    """Reasons why a Raspberry Pi was slowed down since its start; empty if there is no `vcgencmd`."""
    bits = _throttled() or 0
    return tuple(name for bit, name in THROTTLING.items() if bits >> (bit + SINCE_BOOT) & 1)


def is_raspberry_pi(processor: str) -> bool:
    """Return True if `processor`, the name in `Host`, is a Raspberry Pi, which can tell when it is slow."""
    return processor.startswith("Raspberry Pi")


def slowdowns(sys: Path = SYS) -> int:
    """Number of times that heat slowed down the cores of an x86 processor; 0 if there is no counter."""
    counters = (sys / "devices/system/cpu").glob("cpu[0-9]*/thermal_throttle/core_throttle_count")
    return sum(int(_scaled(path, 1) or 0) for path in counters)


def _throttled() -> int | None:
    program = shutil.which("vcgencmd")
    if program is None:
        return None
    try:
        output = subprocess.run(  # noqa: S603 (a fixed command, found on the PATH)
            [program, "get_throttled"], capture_output=True, text=True, timeout=5, check=True
        ).stdout
        return int(output.strip().partition("=")[2], 16)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def _governor(sys: Path) -> str | None:
    return _line(sys / "devices/system/cpu/cpu0/cpufreq/scaling_governor") or None


def _frequency(sys: Path) -> float | None:
    return _scaled(sys / "devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", 1000)


def _memory(proc: Path) -> int | None:
    for line in _line(proc / "meminfo").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return None


def _load(proc: Path) -> float | None:
    fields = _line(proc / "loadavg").split()
    return float(fields[0]) if fields else None


def _os_name() -> str:
    try:
        return f"{platform.freedesktop_os_release()['PRETTY_NAME']}, {platform.system()} {platform.release()}"
    except (OSError, KeyError):
        return f"{platform.system()} {platform.release()}"


def _scaled(path: Path, unit: int) -> float | None:
    try:
        return int(_line(path)) / unit
    except ValueError:
        return None


def _line(path: Path) -> str:
    try:
        return path.read_text("utf-8").strip()
    except OSError:
        return ""
