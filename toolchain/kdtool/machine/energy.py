"""Energy from the processor's own counter (RAPL of Intel and AMD), where it may be read.

It counts the whole package: what idles and what other programs use is in it. Linux lets root alone
read it. Source: Linux, Documentation/power/powercap/powercap.rst.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

SYS = Path("/sys")
PACKAGE = "package"  # further zones, such as core and dram, are parts of it or of the board


@dataclass
class _Zone:
    """A counter of µJ that starts again from 0 after `span`."""

    path: Path
    span: int
    last: int
    turns: int = 0

    def read(self) -> int:
        now = int(self.path.read_text("ascii"))
        self.turns += now < self.last
        self.last = now
        return self.turns * self.span + now


@dataclass
class RaplMeter:
    """Joules of all packages since some moment."""

    zones: list[_Zone] = field(default_factory=list)

    def joules(self) -> float:
        return sum(zone.read() for zone in self.zones) / 1e6


def open_meter(sys: Path = SYS) -> RaplMeter | None:
    """None where there is no counter or it may not be read."""
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
