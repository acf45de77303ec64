"""What the processor is, and whether it is one."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.hosts import PI, X86, write
from kdtool.benchmark.timing.conditions import Watch
from kdtool.machine.cpu import EMULATED, cpu_flags, is_emulated, processor_name


@pytest.mark.parametrize(
    ("files", "name", "flags"),
    [
        ({"cpuinfo": X86}, "A CPU", ("avx", "avx2", "avx512_vnni")),
        ({"cpuinfo": PI}, "Raspberry Pi 5", ("asimd", "asimddp")),
        ({"cpuinfo": PI, "device-tree/model": "Raspberry Pi 5 Rev 1.0\0"}, "Raspberry Pi 5 Rev 1.0", None),
    ],
)
def test_processor(tmp_path: Path, files: dict[str, str], name: str, flags: tuple[str, ...] | None) -> None:
    proc = write(tmp_path, files)
    assert processor_name(proc) == name
    assert flags is None or cpu_flags(proc) == flags


def test_an_emulated_processor_is_told_by_its_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x86 = write(tmp_path / "x86", {"cpuinfo": "vendor_id : GenuineIntel\n" + X86})
    arm = write(tmp_path / "arm", {"cpuinfo": PI})
    assert is_emulated(x86, "aarch64")
    assert not is_emulated(x86, "x86_64")
    assert not is_emulated(arm, "aarch64")
    monkeypatch.setattr("kdtool.machine.cpu.platform.machine", lambda: "aarch64")
    assert Watch(x86, tmp_path).void() == ("emulated processor",)
    assert Watch(arm, tmp_path).void() == ()
    monkeypatch.setenv(EMULATED, "1")  # a kernel that shows the program another cpuinfo
    assert Watch(arm, tmp_path).void() == ("emulated processor",)


def test_processor_of_a_system_without_proc(tmp_path: Path) -> None:
    assert processor_name(tmp_path)
    assert cpu_flags(tmp_path) == ()
