"""How many processors this process may really use.

A container or a systemd slice often has fewer than the machine: more threads than that fight each
other, and a latency measured so is worth nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")


def usable_threads(proc: Path = PROC, cgroups: Path = CGROUPS) -> int:
    """The smallest of the affinity mask, the control group's CPU quota and OMP_NUM_THREADS, at least 1.

    Mask and quota are divided by LOCAL_WORLD_SIZE, the processes that a launcher started on this machine.

    The quota is the tightest of the process's group and all groups above it (versions 1 and 2);
    a part of a processor is rounded down, since one thread more than the quota is throttled.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = min(_quotas(proc, cgroups), default=float("inf"))
    siblings = _number("LOCAL_WORLD_SIZE", 1)
    return max(1, int(min(affinity / siblings, quota / siblings, _number("OMP_NUM_THREADS", float("inf")))))


def _number(variable: str, otherwise: float) -> float:
    """A positive number in the environment; numerical programs may be told to leave processors to others."""
    text = os.environ.get(variable, "").split(",")[0].strip()
    return int(text) if text.isdecimal() and int(text) > 0 else otherwise


def _quotas(proc: Path, cgroups: Path) -> Iterator[float]:
    """Quota in processors of every group that has one.

    The group's path is looked for below the mount point and, because a container may see the path of
    its host, at each of the path's ancestors up to the mount point itself.
    """
    try:
        lines = (proc / "self" / "cgroup").read_text("utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if controllers == "":
            mounts, read = (cgroups, cgroups / "unified"), _quota_v2
        elif "cpu" in controllers.split(","):
            mounts, read = (cgroups / "cpu", cgroups / controllers), _quota_v1
        else:
            continue
        relative = Path(group.lstrip("/"))
        for mount in mounts:
            for folder in (mount / relative, *(mount / parent for parent in relative.parents)):
                quota = read(folder)
                if quota is not None:
                    yield quota


def _quota_v2(folder: Path) -> float | None:
    """`cpu.max` is "quota period" in µs, or "max period"."""
    return _ratio(_first_line(folder / "cpu.max").split())


def _quota_v1(folder: Path) -> float | None:
    """`cpu.cfs_quota_us` is −1 where there is no limit."""
    return _ratio([_first_line(folder / name) for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")])


def _ratio(fields: list[str]) -> float | None:
    try:
        quota, period = (int(value) for value in fields)
    except ValueError:  # absent, or "max"
        return None
    return quota / period if quota > 0 and period > 0 else None


def _first_line(path: Path) -> str:
    try:
        return path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
