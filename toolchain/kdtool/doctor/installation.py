"""Checks of an installation and of a machine; each problem comes with a fix."""

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

from kdtool.core.errors import pip_install
from kdtool.machine.host import HOT, Host, is_raspberry_pi
from kdtool.machine.packages import TRAIN, required, versions_of
from kdtool.runtime import DEFAULT, RUNTIMES

DISK_WANTED = 2 * 10**9


@dataclass(frozen=True)
class Diagnosis:
    """Result of one check.

    Attributes:
        level: ok, note, warning, or broken, which means that kdtool cannot work.
        about: subject of the check, such as "disk" or a path.
        text: observation.
        fix: next step or command; empty if nothing needs a fix.
    """

    level: Literal["ok", "note", "warning", "broken"]
    about: str
    text: str
    fix: str = ""


def check_installation() -> Iterator[Diagnosis]:
    """Check the versions, the training extra, the runtimes, and that onnxruntime can be loaded."""
    versions = versions_of((*required(), *required(TRAIN)))
    yield Diagnosis("ok", "versions", ", ".join(f"{name} {number}" for name, number in versions.items()))
    if sys.maxsize < 1 << 32:
        yield Diagnosis(
            "broken", "python", "This Python is 32-bit, but onnxruntime has no 32-bit package.",
            "Install a 64-bit system (Raspberry Pi OS 64-bit) and its Python.",
        )  # fmt: skip
    missing = [name for name in required() if name not in versions]
    if missing:
        yield Diagnosis("broken", "packages", f"Missing: {', '.join(missing)}.", pip_install())
    for name, allowed in (required() | required(TRAIN)).items():
        if name in versions and not allowed.contains(versions[name], prereleases=True):
            yield Diagnosis(
                "warning", "packages", f"{name} is {versions[name]}, allowed is {allowed}.",
                f'pip install --upgrade "{name}{allowed}"',
            )  # fmt: skip
    absent = [name for name in required(TRAIN) if name not in versions]
    if absent:
        yield Diagnosis(
            "note", "training",
            f"Not installed: {', '.join(absent)}. Only training, export and quantization need them.",
            f"To train, export or quantize: {pip_install(TRAIN)}",
        )  # fmt: skip
    yield Diagnosis("ok", "runtimes", ", ".join(map(_installed_runtime, RUNTIMES)))
    if platform.machine() in ("aarch64", "arm64") and "piwheels" in _pip_settings():
        yield Diagnosis(
            "note",
            "packages",
            "pip uses piwheels, which has no packages for 64-bit ARM.",
            "If pip cannot find a package, install without piwheels: pip install --isolated kdtool",
        )
    if "onnxruntime" in versions:
        yield from _onnxruntime_loads(versions["onnxruntime"])


def _installed_runtime(name: str) -> str:
    """Return the version of the library (first package of the extra) or the command that installs it."""
    extra = "" if name == DEFAULT else name
    library = next(iter(required(extra)), name) if extra else name
    version = versions_of([library]).get(library)
    return f"{name} {version}" if version else f"{name} not installed ({pip_install(extra)})"


def check_machine(host: Host, folder: Path, int8: str, since_boot: Sequence[str] = ()) -> Iterator[Diagnosis]:
    """Check threads, power, heat and disk.

    Args:
        folder: any folder on the disk.
        int8: quantization scheme for the processor.
        since_boot: reasons why a Raspberry Pi was slowed down since its start.
    """
    yield Diagnosis("ok", "machine", f"{host.processor}, {host.cores} cores, {host.os}")
    yield Diagnosis(
        "ok", "threads", f"{host.usable} of {host.cores} cores (by affinity, quota and OMP_NUM_THREADS)"
    )
    if "OMP_NUM_THREADS" in os.environ:
        yield Diagnosis(
            "note",
            "threads",
            f"OMP_NUM_THREADS={os.environ['OMP_NUM_THREADS']} is set and limits the number of threads.",
            "To use more threads: unset OMP_NUM_THREADS, or kdtool bench --threads N",
        )
    yield Diagnosis("ok", "int8", int8)
    if host.throttling:
        yield Diagnosis(
            "warning", "power", f"The machine is slowed down: {', '.join(host.throttling)}.",
            "Use the power supply of the manufacturer, and cool the machine before a measurement.",
        )  # fmt: skip
    if since_boot:
        yield Diagnosis(
            "warning",
            "power",
            f"The machine has been slowed down since it was started: {', '.join(since_boot)}. kdtool cannot "
            "see a slowdown that happens between two of its checks during a measurement.",
            "Restart the machine before a measurement: sudo reboot",
        )
    if is_raspberry_pi(host.processor) and host.throttling is None:
        yield Diagnosis(
            "warning",
            "power",
            "kdtool cannot read whether this Raspberry Pi is slowed down.",
            "See the output of: vcgencmd get_throttled",
        )
    if host.temperature_c is not None and host.temperature_c >= HOT:
        yield Diagnosis(
            "warning",
            "heat",
            f"{host.temperature_c:.0f} °C; a Raspberry Pi slows down from {HOT:.0f} °C on.",
            "Cool the machine.",
        )
    free = shutil.disk_usage(folder).free
    text = f"{free / 1e9:.1f} GB free in {folder.resolve()}"
    if free < DISK_WANTED:
        yield Diagnosis(
            "warning",
            "disk",
            text + ".",
            "Free some space, or choose a folder on another disk: kdtool run DATA --out DIR",
        )
    else:
        yield Diagnosis("ok", "disk", text)


def _onnxruntime_loads(version: str) -> Iterator[Diagnosis]:
    """Check the import of onnxruntime in a child process, since some versions crash on some processors."""
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
        yield Diagnosis(
            "broken", "onnxruntime", f"version {version} cannot be loaded on {platform.machine()} ({cause}).",
            "pip install --upgrade --force-reinstall onnxruntime",
        )  # fmt: skip


def _pip_settings() -> str:
    """Text of the configuration files of pip."""
    places = (Path("/etc/pip.conf"), Path.home() / ".config/pip/pip.conf", Path.home() / ".pip/pip.conf")
    return "\n".join(path.read_text("utf-8", errors="replace") for path in places if path.is_file())
