"""What of the machine, and of the samples, makes figures doubtful or void."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.hosts import MACHINE, levels, pi, write
from kdtool.benchmark.notes import stability_notes
from kdtool.benchmark.timing.conditions import Watch, latency_reasons, throughput_reasons
from kdtool.doctor.installation import check_machine
from kdtool.machine.host import throttled_since_boot, throttling
from kdtool.recipe.choices import MOST_SAMPLES
from kdtool.results.bench import Latency, Throughput


@pytest.mark.parametrize(
    ("before", "meanwhile", "after", "void"),
    [
        ("0x0", "0x0", "0x0", ()),
        ("0x40000", "0x40000", "0x40000", ()),  # throttled before, since it was started
        ("0x0", "0x40004", "0x40000", ("throttled",)),
        ("0x0", "0x0", "0x80000", ("soft temperature limit",)),  # between two looks
        ("0x1", "0x0", "0x0", ("under-voltage",)),
    ],
)
def test_a_pi_that_was_slowed_down_voids_latencies(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    before: str,
    meanwhile: str,
    after: str,
    void: tuple[str, ...],
) -> None:
    monkeypatch.setattr("kdtool.benchmark.timing.conditions.EVERY", 0)
    pi(tmp_path, monkeypatch, f"echo throttled={before}")
    watch = Watch(tmp_path, tmp_path)
    pi(tmp_path, monkeypatch, f"echo throttled={meanwhile}")
    watch.look()
    pi(tmp_path, monkeypatch, f"echo throttled={after}")
    watch.end()
    assert watch.void() == void
    assert [moment.when for moment in watch.moments] == ["before", "during", "after"]


def test_a_pi_that_was_slowed_down_before_is_to_be_restarted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pi(tmp_path, monkeypatch, "echo throttled=0x50000")
    watch = Watch(tmp_path, tmp_path)
    watch.end()
    reasons = " ".join(watch.reasons(MACHINE))
    assert "since its start (under-voltage, throttled)" in reasons
    assert "slows down again between two looks; restart it" in reasons
    found = levels(check_machine(MACHINE, tmp_path, "U8S8", throttled_since_boot()))
    assert "warning power: The machine has been slowed down since it was started: under-voltage" in found
    assert "sudo reboot" in found


@pytest.mark.parametrize(("script", "known"), [("exit 3", False), ("echo throttled=0x0", True)])
def test_a_pi_that_does_not_tell_is_no_steady_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, known: bool
) -> None:
    pi(tmp_path, monkeypatch, script)
    board = replace(MACHINE, processor="Raspberry Pi 5 Model B Rev 1.0", throttling=throttling())
    watch = Watch(tmp_path, tmp_path)
    watch.end()
    assert ("could not be read (vcgencmd" not in " ".join(watch.reasons(board))) == known
    assert "vcgencmd" not in " ".join(watch.reasons(MACHINE))
    found = levels(check_machine(board, tmp_path, "U8S8"))
    assert (
        "warning power: kdtool cannot read whether this Raspberry Pi is slowed down" not in found
    ) == known


def test_what_makes_a_machine_unsteady_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = "devices/system/cpu/cpu0/"
    files = {
        cpu + "cpufreq/scaling_cur_freq": "2000000",
        "class/thermal/thermal_zone0/temp": "81000",
        cpu + "thermal_throttle/core_throttle_count": "3",
        "stat": "cpu 100 0 100 900 0 0 0 0 0 0\n",
    }
    monkeypatch.setattr("kdtool.benchmark.timing.conditions.os.cpu_count", lambda: 1)
    root = write(tmp_path, files)
    watch = Watch(root, root)
    busy = "cpu 1000000 0 100 900 0 0 0 1000000 0 0\n"
    changed = {cpu + "cpufreq/scaling_cur_freq": "1000000", "stat": busy}
    write(root, changed | {cpu + "thermal_throttle/core_throttle_count": "5"})
    watch.end()
    reasons = watch.reasons(MACHINE)
    for part in (
        "other programs used",
        "hypervisor took",
        "from 1000 to 2000 MHz",
        "81 °C",
        "down 2 time(s)",
    ):
        assert sum(part in reason for reason in reasons) == 1
    assert "unstable: other programs" in stability_notes((), reasons)[0]
    assert "Latencies are void (hot): they mean nothing." in stability_notes(("hot",), ())[0]


@pytest.mark.parametrize("latency", [Latency(1.0, 1.2, (1.0,) * 64, (), 1, steady=True)])
def test_steady_samples_raise_no_doubt(latency: Latency) -> None:
    assert latency_reasons([("student", latency)]) == []


def test_samples_that_raise_doubt() -> None:
    drifting = Latency(1.0, 1.2, (1.0,) * 32 + (1.2,) * 32, (), 1, steady=False)
    noisy = Latency(1.0, 1.3, (1.0,) * 64, (), 1, steady=True)
    reasons = latency_reasons([("a", drifting), ("b", noisy)])
    assert reasons == [
        "latency is noisy (p90 over 1.25 × p50): b",
        "the warm-up did not end in a steady state: a",
        "the two halves of the samples differ: a",
    ]
    tiny = Latency(1.0, 1.0, (1.0,) * MOST_SAMPLES, (), 1, steady=True)
    assert latency_reasons([("tiny", tiny)]) == [
        "the measurement ended before its minimum duration, at the limit of 100,000 samples: tiny"
    ]


def test_batches_that_raise_doubt() -> None:
    steady = Throughput(8, 2, 100.0, None, (1.0,) * 8, (), steady=True)
    drifting = replace(steady, batch_ms=(1.0,) * 4 + (1.2,) * 4)
    restless = replace(steady, steady=False)
    assert throughput_reasons([("a", steady), ("a", replace(steady, steady=None))]) == []
    assert throughput_reasons([("a", drifting), ("b", restless), ("b", restless)]) == [
        "the warm-up of the batches did not end in a steady state: b",
        "the two halves of the batches differ: a",
    ]
