"""Energy that the processor counts itself (RAPL of Intel and AMD).

The counter covers the whole package: idle power and the energy of other programs are included. On Linux
only root can read it. Source: Linux, Documentation/power/powercap/powercap.rst.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

SYS = Path("/sys")
PACKAGE = "package"  # other zones, such as core and dram, are parts of the package or of the board


@dataclass
class _Zone:
    """Counter of µJ that starts again from 0 after `span`."""

    path: Path
    span: int
    last: int
    overflows: int = 0

    def read(self) -> int:
        now = int(self.path.read_text("ascii"))
        self.overflows += now < self.last
        self.last = now
        return self.overflows * self.span + now


@dataclass
class RaplMeter:
    """Counter of the joules of all packages; only differences of two readings have a meaning."""

    zones: list[_Zone] = field(default_factory=list)

    def joules(self) -> float:
        return sum(zone.read() for zone in self.zones) / 1e6


def open_meter(sys: Path = SYS) -> RaplMeter | None:
    """Open the counters of all packages; None if there is no counter or it cannot be read."""
    zones = []
    for folder in sorted((sys / "class/powercap").glob("intel-rapl:*")):
        try:
            if not (folder / "name").read_text("ascii").startswith(PACKAGE):
                continue
            span = int((folder / "max_energy_range_uj").read_text("ascii"))
            first = int((folder / "energy_uj").read_text("ascii"))
        except (OSError, ValueError):
            return None
        zones.append(_Zone(folder / "energy_uj", span, first))
    return RaplMeter(zones) if zones else None
