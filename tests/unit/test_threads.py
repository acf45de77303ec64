"""Processors this process may use: affinity and quotas of both kinds of control groups."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kdtool.machine.threads import usable_threads


@pytest.fixture(autouse=True)
def sixteen_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)), raising=False)
    for variable in ("OMP_NUM_THREADS", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(variable, raising=False)


def machine(folder: Path, group: str, files: dict[str, str]) -> tuple[Path, Path]:
    written = {"proc/self/cgroup": group, **{f"cgroup/{name}": text for name, text in files.items()}}
    for name, text in written.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "proc", folder / "cgroup"


V2, V1 = "0::/a/b\n", "5:cpuset:/\n3:cpu,cpuacct:/a/b\n0::/\n"


@pytest.mark.parametrize(
    ("group", "files", "expected"),
    [
        (V2, {}, 16),
        (V2, {"a/b/cpu.max": "max 100000\n"}, 16),
        (V2, {"a/b/cpu.max": "300000 100000\n"}, 3),
        (V2, {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "250000 100000\n"}, 2),  # a group above
        (V2, {"cpu.max": "400000 100000\n"}, 4),  # a container that sees its host's path
        (V2, {"a/b/cpu.max": "50000 100000\n"}, 1),  # half a processor is one thread
        (V2, {"a/b/cpu.max": "9900000 100000\n"}, 16),
        (V2, {"a/b/cpu.max": "garbage"}, 16),
        (V1, {"cpu/a/b/cpu.cfs_quota_us": "-1\n", "cpu/a/b/cpu.cfs_period_us": "100000\n"}, 16),
        (V1, {"cpu/a/b/cpu.cfs_quota_us": "200000\n", "cpu/a/b/cpu.cfs_period_us": "100000\n"}, 2),
        (V1, {"cpu,cpuacct/cpu.cfs_quota_us": "500000\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n"}, 5),
        (V1, {"cpu/a/b/cpu.cfs_quota_us": "200000\n"}, 16),
    ],
)
def test_quota(tmp_path: Path, group: str, files: dict[str, str], expected: int) -> None:
    assert usable_threads(*machine(tmp_path, group, files)) == expected


def test_no_control_groups(tmp_path: Path) -> None:
    assert usable_threads(tmp_path, tmp_path) == 16


def test_affinity_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3}, raising=False)
    assert usable_threads(*machine(tmp_path, V2, {"a/b/cpu.max": "300000 100000\n"})) == 1


def test_a_system_without_affinity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_threads(tmp_path, tmp_path) == 1


@pytest.mark.parametrize(
    ("value", "expected"), [("3", 3), ("99", 16), (" 2 ", 2), ("4,2", 4), ("0", 16), ("many", 16), ("", 16)]
)
def test_the_user_may_ask_for_fewer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, expected: int
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert usable_threads(tmp_path, tmp_path) == expected


@pytest.mark.parametrize(
    ("siblings", "asked", "expected"), [("2", "", 8), ("5", "", 3), ("32", "", 1), ("2", "3", 3)]
)
def test_processes_of_one_machine_share_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, siblings: str, asked: str, expected: int
) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", siblings)
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert usable_threads(tmp_path, tmp_path) == expected
