"""Host facts, the order of latency samples, notes and words."""

from __future__ import annotations

import gc
import io
import stat
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from kdtool.bench import doctor
from kdtool.bench.accuracy import _answers
from kdtool.bench.conditions import Watch, latency_reasons
from kdtool.bench.doctor import examine_installation, examine_machine
from kdtool.bench.energy import open_meter
from kdtool.bench.host import read_host, slowdowns, temperature, throttled_since_boot, throttling
from kdtool.bench.latency import latency_of, throughput_of
from kdtool.bench.notes import accuracy_notes, latency_notes, stability_notes, start_notes, target_notes
from kdtool.bench.ownprocess import Started, in_own_processes
from kdtool.bench.table import print_table
from kdtool.core.benchresult import BenchResult, Gain, Host, Latency, ModelResult
from kdtool.core.claim import Judged, Thresholds, Verdict
from kdtool.core.cpu import EMULATED, cpu_flags, int8_target, is_emulated, processor_name
from kdtool.core.errors import UsageError
from kdtool.core.screen import QUIET
from kdtool.core.text import printable
from kdtool.runtime.turns import Plan, measure, settled

X86 = "processor : 0\nmodel name\t: A CPU\nflags\t\t: fpu avx avx2 avx512_vnni\n"
PI = "processor : 0\nFeatures : fp asimd asimddp\nModel : Raspberry Pi 5\n"
MACHINE = Host("A CPU", "x86_64", ("avx2",), 4, 4, 8, None, None, None, None, None, "Linux")


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


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
    monkeypatch.setattr("kdtool.core.cpu.platform.machine", lambda: "aarch64")
    assert Watch(x86, tmp_path).void() == ("emulated processor",)
    assert Watch(arm, tmp_path).void() == ()
    monkeypatch.setenv(EMULATED, "1")  # a kernel that shows the program another cpuinfo
    assert Watch(arm, tmp_path).void() == ("emulated processor",)


def test_processor_of_a_system_without_proc(tmp_path: Path) -> None:
    assert processor_name(tmp_path)
    assert cpu_flags(tmp_path) == ()


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


def pi(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """A Raspberry Pi that answers so."""
    program = folder / "vcgencmd"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder))


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
    monkeypatch.setattr("kdtool.bench.conditions.EVERY", 0)
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
    assert "between two looks cannot be seen; restart it" in reasons
    found = levels(examine_machine(MACHINE, tmp_path, "U8S8", throttled_since_boot()))
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
    found = levels(examine_machine(board, tmp_path, "U8S8"))
    assert ("warning power: Whether this Raspberry Pi is slowed down cannot be read" not in found) == known


def test_what_makes_a_machine_unsteady_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = "devices/system/cpu/cpu0/"
    files = {
        cpu + "cpufreq/scaling_cur_freq": "2000000",
        "class/thermal/thermal_zone0/temp": "81000",
        cpu + "thermal_throttle/core_throttle_count": "3",
        "stat": "cpu 100 0 100 900 0 0 0 0 0 0\n",
    }
    monkeypatch.setattr("kdtool.bench.conditions.os.cpu_count", lambda: 1)
    root = write(tmp_path, files)
    watch = Watch(root, root)
    busy = "cpu 1000000 0 100 900 0 0 0 1000000 0 0\n"
    changed = {cpu + "cpufreq/scaling_cur_freq": "1000000", "stat": busy}
    write(root, changed | {cpu + "thermal_throttle/core_throttle_count": "5"})
    watch.end()
    reasons = watch.reasons(MACHINE)
    for part in (
        "other programs kept",
        "hypervisor took",
        "from 1000 to 2000 MHz",
        "81 °C",
        "down 2 time(s)",
    ):
        assert sum(part in reason for reason in reasons) == 1
    assert "unstable: other programs" in stability_notes((), reasons)[0]
    assert "Latencies are void (hot): they mean nothing." in stability_notes(("hot",), ())[0]


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("kill -9 $$", "ended by signal 9"),
        (
            "echo 'Traceback:'; echo 'kdtool.X: m.onnx: broken.\nMake it again.' >&2; exit 1",
            "m.onnx: broken.",
        ),
        ("echo odd >&2; exit 4", "odd"),
        ("exit 4", "exit code 4"),
        ("echo garbage", "its answer cannot be read"),
        ("true", "its answer cannot be read"),
        ("exec sleep 5", "no answer in 0.5 seconds"),
    ],
)
def test_a_model_that_does_not_start_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, why: str
) -> None:
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr("kdtool.bench.ownprocess.sys.executable", str(program))
    monkeypatch.setattr("kdtool.bench.ownprocess.PATIENCE", 0.5 if "sleep" in script else 60)
    (started,) = in_own_processes([("onnxruntime", tmp_path / "m.onnx", (1, 3, 8, 8))], 1, 1, QUIET)
    assert started == Started(None, f"1 of 1 starts failed: {why}")
    (note,) = start_notes({"teacher": "", "student": started.failure})
    assert note.startswith("student: cold start and memory")
    assert why in note


def test_a_process_that_cannot_be_made_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kdtool.bench.ownprocess.sys.executable", str(tmp_path / "absent"))
    (started,) = in_own_processes([("onnxruntime", tmp_path / "m.onnx", (1, 3, 8, 8))], 1, 2, QUIET)
    assert started.failure == "2 of 2 starts failed: No such file or directory"


@pytest.mark.parametrize("latency", [Latency(1.0, 1.2, (1.0,) * 64, (), 1, steady=True)])
def test_steady_samples_raise_no_doubt(latency: Latency) -> None:
    assert latency_reasons([("student", latency)]) == []


def test_samples_that_raise_doubt() -> None:
    drifting = Latency(1.0, 1.2, (1.0,) * 32 + (1.2,) * 32, (), 1, steady=False)
    noisy = Latency(1.0, 1.3, (1.0,) * 64, (), 1, steady=True)
    reasons = latency_reasons([("a", drifting), ("b", noisy)])
    assert reasons == [
        "latency is noisy (p90 over 1.25 × p50): b",
        "warming up did not end in a steady state: a",
        "the two halves of the samples differ: a",
    ]


def test_energy_is_counted_across_packages_and_the_end_of_the_counter(tmp_path: Path) -> None:
    zones = {
        f"class/powercap/intel-rapl:{number}/{name}": text
        for number, zone in enumerate(("package-0", "package-1", "psys"))
        for name, text in (("name", zone), ("energy_uj", "900000"), ("max_energy_range_uj", "1000000"))
    }
    root = write(tmp_path, zones)
    meter = open_meter(root)
    start = meter.joules()
    write(root, {"class/powercap/intel-rapl:0/energy_uj": "100000"})  # 0.2 J later, it began again
    assert meter.joules() - start == pytest.approx(0.2)
    write(root, {"class/powercap/intel-rapl:1/energy_uj": "950000"})
    assert meter.joules() - start == pytest.approx(0.25)
    (root / "class/powercap/intel-rapl:1/energy_uj").unlink()
    assert open_meter(root) is None
    assert open_meter(tmp_path / "absent") is None


def test_no_vcgencmd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert throttling() is None


class Recorder:
    """A session that notes when it is called."""

    threads = 3

    def __init__(self, name: str, calls: list[str]) -> None:
        self.name, self.calls = name, calls

    def run(self, images: np.ndarray) -> np.ndarray:
        assert images.shape == (1, 3, 4, 4)
        assert not gc.isenabled()
        self.calls.append(self.name)
        return np.zeros((1, 2), np.float32)


def test_models_are_taken_in_turns_forwards_and_backwards() -> None:
    calls: list[str] = []
    looks: list[int] = []
    sessions = [Recorder("A", calls), Recorder("B", calls)]
    image = np.zeros((1, 3, 4, 4), np.float32)
    first, second = measure(sessions, [image, image], Plan(2, 64), QUIET, lambda: looks.append(len(calls)))
    assert "".join(calls) == "ABBA" * 33
    assert (len(first.samples), len(second.samples), len(first.warmup), first.steady) == (64, 64, 2, None)
    latency = latency_of(first, 3)
    assert latency.p50 <= latency.p90 <= max(first.samples)
    assert latency.p50_ci[0] <= latency.p50 <= latency.p50_ci[1]
    assert (latency.threads, latency.p99, latency.p99_ci) == (3, None, None)
    assert len(looks) == 9
    assert gc.isenabled()


IMAGE = np.zeros((1, 3, 4, 4), np.float32)


def test_too_few_runs_are_refused() -> None:
    (timed,) = measure([Recorder("A", [])], [IMAGE], Plan(1, 63), QUIET)
    with pytest.raises(UsageError, match="p90 of 63 samples"):
        latency_of(timed, 1)


def test_a_p99_wants_662_samples() -> None:
    (timed,) = measure([Recorder("A", [])], [IMAGE], Plan(1, 662), QUIET)
    latency = latency_of(timed, 1)
    assert latency.p99_ci[0] <= latency.p99 <= latency.p99_ci[1]


class Clock:
    """The time as `kdtool.runtime.turns` sees it; it goes on by what the models say they take."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter_ns(self) -> int:
        return round(1e9 * self.now)

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("kdtool.runtime.turns.time", clock)
    return clock


class Slow:
    """A session that takes as long as it is told: `times` first, and the last of them from then on."""

    threads = 1

    def __init__(self, clock: Clock, *times: float) -> None:
        self.clock, self.times = clock, list(times)

    def run(self, images: np.ndarray) -> np.ndarray:
        self.clock.now += self.times.pop(0) if len(self.times) > 1 else self.times[0]
        return np.zeros((1, 2), np.float32)


def test_warming_up_goes_on_until_times_are_steady(clock: Clock) -> None:
    slow = Slow(clock, *[0.002] * 4, *[0.001] * 4, 0.0005)
    (timed,) = measure([slow], [IMAGE], Plan(8, 64), QUIET)
    assert len(timed.warmup) == 15  # of the last eight one is slow, which no median shows
    assert (len(timed.samples), timed.steady) == (64, True)


def test_warming_up_ends_where_times_never_settle(clock: Clock) -> None:
    falling = [0.004 * 0.9**number for number in range(60)]
    (timed,) = measure([Slow(clock, *falling)], [IMAGE], Plan(8, 64), QUIET)
    assert (len(timed.warmup), timed.steady) == (40, False)
    assert settled(timed.warmup) is False


def test_measuring_goes_on_for_as_long_as_asked(clock: Clock) -> None:
    (timed,) = measure([Slow(clock, 0.0005)], [IMAGE], Plan(1, 64, seconds=0.1), QUIET)
    assert len(timed.samples) == pytest.approx(200, abs=1)
    (timed,) = measure([Slow(clock, 0.0005)], [IMAGE], Plan(1, 64, seconds=9), QUIET)
    assert len(timed.samples) == 5000  # no more are kept


def test_throughput_counts_images_and_their_energy(tmp_path: Path, clock: Clock) -> None:
    folder = "class/powercap/intel-rapl:0/"
    root = write(
        tmp_path,
        {folder + "name": "package-0", folder + "energy_uj": "0", folder + "max_energy_range_uj": "9000000"},
    )

    class Burning(Slow):
        def run(self, images: np.ndarray) -> np.ndarray:
            path = root / folder / "energy_uj"
            path.write_text(str(int(path.read_text()) + 4000))
            return super().run(images)

    (timed,) = measure([Burning(clock, 0.001)], [IMAGE], Plan(2, 20), QUIET, meter=open_meter(root))
    offline = throughput_of(timed, 4, 1)
    assert offline.energy_mj == pytest.approx(1.0)  # 4 mJ a batch of 4
    assert offline.images_per_s == pytest.approx(4000 / float(np.median(timed.samples)))
    assert offline.images_per_s_ci[0] <= offline.images_per_s <= offline.images_per_s_ci[1]
    assert (offline.batch, offline.threads, len(offline.batch_ms), len(offline.warmup)) == (4, 1, 20, 2)


def test_answers_are_the_softmax_at_the_largest_logit() -> None:
    answers = _answers(np.log(np.array([[1, 3], [9, 1]], np.float32)))
    assert answers.predicted.tolist() == [1, 0]
    assert answers.probability == pytest.approx([0.75, 0.9])
    assert answers.correct(np.array([1, 1])).tolist() == [True, False]
    assert len(_answers(np.empty((0, 2), np.float32)).predicted) == 0


def model(
    name: str, p50: float = 10.0, p90: float = 11.0, interval: tuple[float, float] | None = (0.89, 0.91)
) -> ModelResult:
    role, _, precision = name.partition("-")
    latency = Latency(p50, p90, (p50,) * 64, (), 2)
    accuracy = None if interval is None else 0.9
    return ModelResult(
        name, role, precision or "fp32", accuracy, interval, 900, 1.0, (0.98, 1.02),
        11_690_000, 1_814_100_000, 46_800_000, latency, f"{name}.onnx", "0" * 64,
    )  # fmt: skip


def test_notes_on_accuracy() -> None:
    assert accuracy_notes([model("teacher")]) == []
    assert "900 images" in accuracy_notes([model("teacher", interval=(0.8, 0.95))])[0]
    assert "no test images" in accuracy_notes([model("teacher", interval=None)])[0]


def test_notes_on_latency() -> None:
    quick, slow = model("student-int8", 5), model("student-int8", 12)
    assert latency_notes([model("student"), quick], 2) == []
    note = latency_notes([model("student"), slow], 2)[0]
    assert "student-int8 is not at least 1.1 × as fast as student" in note
    assert "not at least 1.1 ×" in latency_notes([model("student"), model("student-int8", 9.5)], 2)[0]
    assert "2 threads shared the 1 processors" in latency_notes([model("student")], 1)[0]


def test_notes_on_int8_made_for_another_processor() -> None:
    here = int8_target()
    assert target_notes({"student-int8": here}) == []
    (note,) = target_notes({"teacher-int8": here, "student-int8": "abacus"})
    assert f"student-int8 was quantized for abacus, this machine is {here}" in note
    assert f"kdtool quantize --target {here}" in note


def verdict(name: str = "PASS", **changes: object) -> Verdict:
    values = {
        "verdict": name, "retention": 0.97, "retention_ci": (0.95, 0.99), "compute_ratio": 0.4951,
        "params_ratio": 0.536, "thresholds": Thresholds(),
        "bounds": (Judged("retention", True, 0.94, name, 0.97, (0.95, 0.99), None, "test images"),),
    }  # fmt: skip
    return Verdict(**(values | changes))


def test_the_table_names_units_and_hides_escapes() -> None:
    rows = (model("teacher"), model("[red]\x1b[31mstudent-int8", interval=None))
    stream = io.StringIO()
    result = BenchResult(MACHINE, rows, verdict(), None, ("a [note]",))
    print_table(result, Console(file=stream, width=80))
    out = stream.getvalue()
    for part in (
        "GMACs",
        "GFLOPs",
        "1.81",
        "3.63",
        "11.69",
        "46.80",
        "90.00 (89.0–91.0)",
        "a [note]",
        "Threads",
        "10.00",
    ):
        assert part in out
    assert "\x1b" not in out


def test_the_terminal_says_the_verdict_and_what_the_teacher_added() -> None:
    stream = io.StringIO()
    gain = Gain(1.25, 20, 10, 0.0987)
    print_table(BenchResult(MACHINE, (model("student"),), verdict(), gain, ()), Console(file=stream))
    out = " ".join(stream.getvalue().split())
    for part in ("PASS The claim holds.", "keeps 97 %", "95 % to 99 %", "49.5 %", "+1.2 points", "p = 0.099"):
        assert part in out


def test_printable_spells_out_what_a_terminal_would_obey() -> None:
    assert printable("a\x1b[2J\u202eb\n🐈 é") == "a\\x1b[2J\\u202eb\\n🐈 é"


def levels(findings: object) -> str:
    return "\n".join(f"{finding.level} {finding.about}: {finding.text} {finding.fix}" for finding in findings)


def test_doctor_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        doctor, "versions_of", lambda names: {"python": "3.11", "pillow": "12.1", "numpy": "2.0"}
    )
    text = levels(examine_installation())
    assert "broken packages: Missing: onnxruntime, pydantic" in text
    assert "warning packages: pillow 12.1 has known weaknesses before 13" in text
    assert "note training: Not installed: torch" in text
    assert 'pip install "kdtool[train]"' in text


def test_doctor_tries_onnxruntime_in_a_child(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho 'Illegal instruction' >&2\nexit 132\n")
    broken.chmod(0o755)
    monkeypatch.setattr(doctor.sys, "executable", str(broken))
    assert "cannot be loaded on" in levels(examine_installation())
    assert "Illegal instruction" in levels(examine_installation())
    monkeypatch.setattr(doctor.sys, "executable", str(tmp_path / "absent"))
    assert "broken onnxruntime" in levels(examine_installation())


def test_doctor_of_32_bits_and_piwheels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(doctor, "_pip_settings", lambda: "extra-index-url = piwheels")
    assert "piwheels is set up" in levels(examine_installation())
    monkeypatch.setattr(doctor.sys, "maxsize", 2**31 - 1)
    assert "broken python: This Python is 32-bit" in levels(examine_installation())


def test_doctor_of_a_hot_full_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor, "DISK_WANTED", 1 << 60)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    host = replace(MACHINE, temperature_c=85.0, throttling=("throttled",))
    text = levels(examine_machine(host, tmp_path, "U8S8"))
    for part in ("warning heat: 85 °C", "warning power", "warning disk", "ok int8: U8S8"):
        assert part in text
    assert "note threads: OMP_NUM_THREADS=1 is among the limits" in text
    assert "kdtool run DATA --out DIR" in text
