"""What is wrong with an installation or a machine, and what to do about it."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kdtool.machine.host import Host, is_raspberry_pi
from kdtool.machine.packages import TRAIN, required, versions_of

DISK_WANTED = 2 * 10**9
HOT = 80.0


@dataclass(frozen=True)
class Finding:
    """`level`: ok, note, warning, or broken, which means that kdtool cannot work so. `fix` is what to do."""

    level: Literal["ok", "note", "warning", "broken"]
    about: str
    text: str
    fix: str = ""


def examine_installation() -> Iterator[Finding]:
    """Versions, the training extra, and whether onnxruntime can be loaded at all."""
    found = versions_of((*required(), *required(TRAIN)))
    yield Finding("ok", "versions", ", ".join(f"{name} {number}" for name, number in found.items()))
    if sys.maxsize < 1 << 32:
        yield Finding(
            "broken", "python", "This Python is 32-bit; onnxruntime has no 32-bit package.",
            "Install a 64-bit system (Raspberry Pi OS 64-bit) and its Python.",
        )  # fmt: skip
    missing = [name for name in required() if name not in found]
    if missing:
        yield Finding("broken", "packages", f"Missing: {', '.join(missing)}.", "pip install kdtool")
    for name, allowed in (required() | required(TRAIN)).items():
        if name in found and not allowed.contains(found[name], prereleases=True):
            yield Finding(
                "warning", "packages", f"{name} is {found[name]}, allowed is {allowed}.",
                f'pip install --upgrade "{name}{allowed}"',
            )  # fmt: skip
    absent = [name for name in required(TRAIN) if name not in found]
    if absent:
        yield Finding(
            "note", "training",
            f"Not installed: {', '.join(absent)}. What needs no training works.",
            'To train, export or quantize: pip install "kdtool[train]"',
        )  # fmt: skip
    if platform.machine() in ("aarch64", "arm64") and "piwheels" in _pip_settings():
        yield Finding(
            "note",
            "packages",
            "piwheels is set up, which has no packages for 64-bit ARM.",
            "Leave it out where pip cannot find a package: pip install --isolated kdtool",
        )
    if "onnxruntime" in found:
        yield from _onnxruntime_loads(found["onnxruntime"])


def examine_machine(host: Host, folder: Path, int8: str, ever: Sequence[str] = ()) -> Iterator[Finding]:
    """Threads, power, heat and the disk.

    Args:
        folder: on the disk that is looked at.
        int8: the quantization that suits the processor.
        ever: what has slowed a Raspberry Pi down since it was started.
    """
    yield Finding("ok", "machine", f"{host.processor}, {host.cores} cores, {host.os}")
    yield Finding(
        "ok", "threads", f"{host.usable} (of {host.cores} cores; affinity, quota and OMP_NUM_THREADS counted)"
    )
    if "OMP_NUM_THREADS" in os.environ:
        yield Finding(
            "note",
            "threads",
            f"OMP_NUM_THREADS={os.environ['OMP_NUM_THREADS']} is among the limits that were counted.",
            "To use more: unset OMP_NUM_THREADS, or kdtool bench --threads N",
        )
    yield Finding("ok", "int8", int8)
    if host.throttling:
        yield Finding(
            "warning", "power", f"The machine is slowed down: {', '.join(host.throttling)}.",
            "Use the power supply made for it and cool it before measuring.",
        )  # fmt: skip
    if ever:
        yield Finding(
            "warning",
            "power",
            f"The machine has been slowed down since it was started: {', '.join(ever)}. What of this happens "
            "between two looks of a measurement cannot be seen.",
            "Restart it before measuring: sudo reboot",
        )
    if is_raspberry_pi(host.processor) and host.throttling is None:
        yield Finding(
            "warning",
            "power",
            "Whether this Raspberry Pi is slowed down cannot be read.",
            "See what this says: vcgencmd get_throttled",
        )
    if host.temperature_c is not None and host.temperature_c >= HOT:
        yield Finding(
            "warning",
            "heat",
            f"{host.temperature_c:.0f} °C; a Raspberry Pi slows down from {HOT:.0f} °C.",
            "Cool it.",
        )
    free = shutil.disk_usage(folder).free
    text = f"{free / 1e9:.1f} GB free in {folder.resolve()}"
    if free < DISK_WANTED:
        yield Finding(
            "warning",
            "disk",
            text + ".",
            "Free some space, or choose another place: kdtool run DATA --out DIR",
        )
    else:
        yield Finding("ok", "disk", text)


def _onnxruntime_loads(version: str) -> Iterator[Finding]:
    """In a process of its own: there were versions that crash on import on some processors."""
    try:
        child = subprocess.run(
            [sys.executable, "-c", "import onnxruntime"],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        cause = (
            ""
            if child.returncode == 0
            else (child.stderr.strip().splitlines() or [f"exit {child.returncode}"])[-1]
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        cause = str(error)
    if cause:
        yield Finding(
            "broken", "onnxruntime", f"{version} cannot be loaded on {platform.machine()} ({cause}).",
            "pip install --upgrade --force-reinstall onnxruntime",
        )  # fmt: skip


def _pip_settings() -> str:
    """What pip's own configuration files say."""
    places = (Path("/etc/pip.conf"), Path.home() / ".config/pip/pip.conf", Path.home() / ".pip/pip.conf")
    return "\n".join(path.read_text("utf-8", errors="replace") for path in places if path.is_file())
