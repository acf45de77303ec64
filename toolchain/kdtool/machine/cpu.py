"""Name of the processor, and its instructions that matter for INT8.

Both are read from /proc (Linux). On other systems the instructions are unknown and the set is empty.
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
INT8_WORTH_IT = 1.1  # INT8 must be this many times as fast as float32 to justify its loss of accuracy
ARM = ("aarch64", "arm64", "armv7l", "armv8l")


def cpu_flags(proc: Path = PROC) -> tuple[str, ...]:
    """Instructions of `INTERESTING` that the processor has, in the same order."""
    words = set(" ".join(_values(proc, ("flags", "features"))).split())
    return tuple(flag for flag in INTERESTING if flag in words)


def cpu_has_bfloat16(proc: Path = PROC) -> bool:
    """Return True if the processor multiplies in bfloat16; False if its instructions are unknown."""
    return bool(BFLOAT16 & set(" ".join(_values(proc, ("flags", "features"))).split()))


def int8_target(proc: Path = PROC, machine: str = "") -> str:
    """Kind of this processor by its 8-bit arithmetic; see `int8_kind`."""
    return int8_kind(cpu_flags(proc), machine or platform.machine())


def int8_kind(flags: Iterable[str], machine: str) -> str:
    """Kind of a processor by its 8-bit arithmetic: `x86-avx2`, `x86-vnni`, `arm` or `arm-dotprod`.

    If the instructions are unknown, the simpler kind is assumed. Apple's processors are an exception: their
    instructions are unknown, they are named arm64, and all of them have the dot product.
    """
    known = set(flags)
    if machine.lower() in ARM:
        apple = machine.lower() == "arm64" and not known
        return "arm-dotprod" if DOT_PRODUCT in known or apple else "arm"
    return "x86-vnni" if known & VNNI else "x86-avx2"


def is_emulated(proc: Path = PROC, machine: str = "") -> bool:
    """Return True if a program for ARM runs on an x86 processor, such as under qemu.

    The kernel's cpuinfo shows this. Newer versions of qemu replace the cpuinfo, so the environment
    variable KDTOOL_EMULATED=1 says it as well.
    """
    machine = (machine or platform.machine()).lower()
    return os.environ.get(EMULATED) == "1" or (machine in ARM and bool(_values(proc, ("vendor_id",))))


def processor_name(proc: Path = PROC) -> str:
    """Name of the board or processor, such as `Raspberry Pi 5 Model B Rev 1.0`."""
    board = _text(proc / "device-tree" / "model")
    names = [board] if board else _values(proc, ("model name", "model", "hardware"))
    return next((name for name in names if name), "") or platform.processor() or platform.machine()


def _values(proc: Path, keys: tuple[str, ...]) -> list[str]:
    """Values of /proc/cpuinfo, sorted by `keys` and then by their place in the file."""
    lines = [line.partition(":") for line in _text(proc / "cpuinfo").splitlines()]
    entries = [(key.strip().lower(), value.strip()) for key, _, value in lines]
    return [value for wanted in keys for key, value in entries if key == wanted]


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", errors="replace").strip("\0 \n")
    except OSError:
        return ""
