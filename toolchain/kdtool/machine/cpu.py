"""What the processor calls itself and which instructions it has that matter to INT8.

Read from /proc (Linux). Elsewhere the flags are unknown, which is an empty set.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from pathlib import Path

PROC = Path("/proc")
EMULATED = "KDTOOL_EMULATED"
# x86: vectors and 8-bit dot products; ARM: dot product (asimddp), 8-bit matrices, half precision, SVE.
INTERESTING = (
    "avx", "avx2", "avx512f", "avx512bw", "avx512_vnni", "avx_vnni", "avx_vnni_int8", "amx_int8",
    "asimd", "asimddp", "asimdhp", "i8mm", "sve", "sve2",
)  # fmt: skip
BFLOAT16 = frozenset({"amx_bf16", "avx512_bf16", "bf16"})
VNNI = frozenset({"avx512_vnni", "avx_vnni"})
DOT_PRODUCT = "asimddp"
INT8_WORTH_IT = 1.1  # times as fast as float32, at least, with confidence: or accuracy is lost for nothing
ARM = ("aarch64", "arm64", "armv7l", "armv8l")


def cpu_flags(proc: Path = PROC) -> tuple[str, ...]:
    """Those of `INTERESTING` that the processor has, in that order."""
    words = set(" ".join(_values(proc, ("flags", "features"))).split())
    return tuple(flag for flag in INTERESTING if flag in words)


def cpu_has_bfloat16(proc: Path = PROC) -> bool:
    """Whether the processor multiplies in bfloat16; one that does not tell is taken not to."""
    return bool(BFLOAT16 & set(" ".join(_values(proc, ("flags", "features"))).split()))


def int8_target(proc: Path = PROC, machine: str = "") -> str:
    """The kind of this processor; see `int8_kind`."""
    return int8_kind(cpu_flags(proc), machine or platform.machine())


def int8_kind(flags: Iterable[str], machine: str) -> str:
    """The kind of processor by its 8-bit arithmetic: `x86-avx2`, `x86-vnni`, `arm` or `arm-dotprod`.

    One that does not tell its features is taken for the one without; Apple's, which are silent and call
    themselves arm64, all have the dot product.
    """
    known = set(flags)
    if machine.lower() in ARM:
        silent_apple = machine.lower() == "arm64" and not known
        return "arm-dotprod" if DOT_PRODUCT in known or silent_apple else "arm"
    return "x86-vnni" if known & VNNI else "x86-avx2"


def is_emulated(proc: Path = PROC, machine: str = "") -> bool:
    """Whether a program for ARM runs on an x86 processor, as under qemu: the kernel's cpuinfo tells.

    Newer versions of qemu show the program a cpuinfo of their own, so whoever emulates can say so:
    KDTOOL_EMULATED=1.
    """
    machine = (machine or platform.machine()).lower()
    return os.environ.get(EMULATED) == "1" or (machine in ARM and bool(_values(proc, ("vendor_id",))))


def processor_name(proc: Path = PROC) -> str:
    """The board or processor by name, such as `Raspberry Pi 5 Model B Rev 1.0`."""
    board = _text(proc / "device-tree" / "model")
    names = [board] if board else _values(proc, ("model name", "model", "hardware"))
    return next((name for name in names if name), "") or platform.processor() or platform.machine()


def _values(proc: Path, keys: tuple[str, ...]) -> list[str]:
    """Values of /proc/cpuinfo, by the order of `keys` and then of the file."""
    pairs = [line.partition(":") for line in _text(proc / "cpuinfo").splitlines()]
    found = [(key.strip().lower(), value.strip()) for key, _, value in pairs]
    return [value for wanted in keys for key, value in found if key == wanted]


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", errors="replace").strip("\0 \n")
    except OSError:
        return ""
