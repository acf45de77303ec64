"""Number of processors that this process may use.

A container or a systemd slice often has fewer processors than the machine. With more threads than
processors the threads wait for each other, and a measured latency has no value.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")


def usable_threads(proc: Path = PROC, cgroups: Path = CGROUPS) -> int:
    """Minimum of the affinity mask, the CPU quota of the control group and OMP_NUM_THREADS; at least 1.

    Mask and quota are divided by LOCAL_WORLD_SIZE, the number of processes that a launcher started on
    this machine.

    The quota is the smallest one of the process's control group and of all groups above (versions 1
    and 2). A part of a processor is rounded down, since the system slows down a thread above the quota.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = min(_quotas(proc, cgroups), default=float("inf"))
    siblings = _number("LOCAL_WORLD_SIZE", 1)
    return max(1, int(min(affinity / siblings, quota / siblings, _number("OMP_NUM_THREADS", float("inf")))))


def _number(variable: str, default: float) -> float:
    """Positive integer in an environment variable; of a list such as "4,2" the first one."""
    text = os.environ.get(variable, "").split(",")[0].strip()
    return int(text) if text.isdecimal() and int(text) > 0 else default


def _quotas(proc: Path, cgroups: Path) -> Iterator[float]:
    """Quota, in processors, of every control group that has one.

    The path of the group is searched below the mount point. Since a container may see the path of its
    host, each parent of the path is searched too, up to the mount point itself.
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
    """Quota by `cpu.max`, which contains "quota period" in µs, or "max period"."""
    return _ratio(_first_line(folder / "cpu.max").split())


def _quota_v1(folder: Path) -> float | None:
    """Quota by `cpu.cfs_quota_us`, which is −1 if there is no limit."""
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
