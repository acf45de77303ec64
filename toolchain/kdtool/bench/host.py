"""The facts of this machine, each optional: what cannot be read is None."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

from kdtool.core.benchresult import Host
from kdtool.core.cpu import PROC, cpu_flags, processor_name
from kdtool.core.threads import usable_threads
from kdtool.core.versions import DEVICE, versions_of

SYS = Path("/sys")
# Bits 0 to 3 of `vcgencmd get_throttled`, from Raspberry Pi's documentation: what is so at this moment.
THROTTLING = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}
BUSY = 0.5  # processors at work for others before we started


def read_host(proc: Path = PROC, sys: Path = SYS) -> Host:
    """The facts, now."""
    return Host(
        processor=processor_name(proc),
        machine=platform.machine(),
        flags=cpu_flags(proc),
        cores=os.cpu_count() or 1,
        usable=usable_threads(proc),
        memory_bytes=_memory(proc),
        governor=_line(sys / "devices/system/cpu/cpu0/cpufreq/scaling_governor") or None,
        frequency_mhz=_scaled(sys / "devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", 1000),
        temperature_c=temperature(sys),
        throttling=throttling(),
        load=_load(proc),
        os=_os_name(),
        versions=versions_of(DEVICE),
    )


def temperature(sys: Path = SYS) -> float | None:
    """Of the hottest zone, °C."""
    zones = [_scaled(path / "temp", 1000) for path in sorted((sys / "class/thermal").glob("thermal_zone*"))]
    return max((zone for zone in zones if zone is not None), default=None)


def throttling() -> tuple[str, ...] | None:
    """What slows a Raspberry Pi down at this moment; None where there is no `vcgencmd`."""
    program = shutil.which("vcgencmd")
    if program is None:
        return None
    try:
        answer = subprocess.run(  # noqa: S603 (a fixed command, found on the PATH)
            [program, "get_throttled"], capture_output=True, text=True, timeout=5, check=True
        ).stdout
        bits = int(answer.strip().partition("=")[2], 16)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return tuple(name for bit, name in THROTTLING.items() if bits >> bit & 1)


def host_notes(host: Host) -> list[str]:
    """What about the machine makes its figures doubtful."""
    notes = []
    if host.load is not None and host.load > BUSY:
        notes.append(
            f"The machine was busy before the measurement (load {host.load:.1f}); latencies may be too long."
        )
    if host.governor not in (None, "performance"):
        notes.append(f"The frequency governor is '{host.governor}', not 'performance'; latencies may vary.")
    return notes


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
