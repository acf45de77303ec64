"""Facts of the machine: what can be read, and what cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.hosts import X86, pi, write
from kdtool.benchmark.timing.conditions import Watch
from kdtool.machine.host import read_host, slowdowns, temperature, throttled_since_boot, throttling


def test_every_fact_of_the_host_is_read(tmp_path: Path) -> None:
    proc = write(
        tmp_path / "p", {"cpuinfo": X86, "meminfo": "MemTotal: 4 kB\nx: 1\n", "loadavg": "1.5 1 1 1/2 3"}
    )
    cpu = "devices/system/cpu/cpu0/cpufreq/"
    sys = write(
        tmp_path / "s",
        {
            cpu + "scaling_governor": "ondemand\n",
            cpu + "scaling_cur_freq": "1500000\n",
            "class/thermal/thermal_zone0/temp": "45500",
            "class/thermal/thermal_zone1/temp": "garbage",
        },
    )
    host = read_host(proc, sys)
    assert (host.memory_bytes, host.load, host.governor) == (4096, 1.5, "ondemand")
    assert (host.frequency_mhz, host.temperature_c) == (1500.0, 45.5)
    reasons = " ".join(Watch(proc, sys).reasons(host))
    assert "load 1.5" in reasons
    assert "'ondemand'" in reasons


def test_facts_that_cannot_be_read_are_none(tmp_path: Path) -> None:
    host = read_host(tmp_path, tmp_path)
    assert (host.memory_bytes, host.load, host.governor, host.frequency_mhz) == (None, None, None, None)
    assert temperature(tmp_path) is None
    watch = Watch(tmp_path, tmp_path)
    watch.end()
    assert (watch.reasons(host), watch.void()) == ([], ())
    assert [moment.when for moment in watch.moments] == ["before", "after"]
    assert slowdowns(tmp_path) == 0


@pytest.mark.parametrize(
    ("script", "expected", "ever"),
    [
        ("echo throttled=0x0", (), ()),
        ("echo throttled=0x50005", ("under-voltage", "throttled"), ("under-voltage", "throttled")),
        ("echo throttled=0x20000", (), ("frequency capped",)),
        ("echo garbage", None, ()),
        ("exit 3", None, ()),
    ],
)
def test_throttling(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    script: str,
    expected: tuple[str, ...] | None,
    ever: tuple[str, ...],
) -> None:
    pi(tmp_path, monkeypatch, script)
    assert throttling() == expected
    assert throttled_since_boot() == ever


def test_no_vcgencmd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert throttling() is None
