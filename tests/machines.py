"""Machines as tests make them up: files under /proc and /sys, a board that answers, facts of a host."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from kdtool.machine.host import Host

X86 = "processor : 0\nmodel name\t: A CPU\nflags\t\t: fpu avx avx2 avx512_vnni\n"
PI = "processor : 0\nFeatures : fp asimd asimddp\nModel : Raspberry Pi 5\n"
MACHINE = Host("A CPU", "x86_64", ("avx2",), 4, 4, 8, None, None, None, None, None, "Linux")


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def pi(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """A Raspberry Pi that answers so."""
    program = folder / "vcgencmd"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder))


def levels(findings: object) -> str:
    return "\n".join(f"{finding.level} {finding.about}: {finding.text} {finding.fix}" for finding in findings)
