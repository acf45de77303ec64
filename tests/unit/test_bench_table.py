"""The tables and the verdict on a terminal."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from kdtool.bench.table import print_table
from kdtool.core.benchresult import BenchResult, Gain, Throughput
from machines import MACHINE
from measurements import model, verdict


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
        "on A CPU",
        "(x86-avx2)",
    ):
        assert part in out
    assert "\x1b" not in out


@pytest.mark.parametrize("void", [(), ("hot",)])
def test_throughput_is_shown_with_every_number_of_threads(void: tuple[str, ...]) -> None:
    offline = Throughput(
        8, 2, 412.0, (400.0, 420.0), (19.4,) * 6, (), 3.5, True, ratio=1.8712, ratio_ci=(1.8, 1.9)
    )
    alone = replace(offline, threads=1, energy_mj=None)
    rows = (replace(model("student"), throughput=offline, other_throughputs=(alone,)),)
    stream = io.StringIO()
    print_table(BenchResult(MACHINE, rows, verdict(), None, (), void=void), Console(file=stream))
    out = stream.getvalue()
    assert "Images/s" in out
    table = [line for line in out.split("Images/s")[1].splitlines() if line.startswith("│")]
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in table]
    assert [(row[0], row[1], row[2]) for row in cells] == [("student", "2", "8"), ("", "1", "8")]
    assert ("412 (400–420)" in out) == ("187.12 (180.0–190.0)" in out) == (not void)
    assert [row[-1] for row in cells] == ["3.5", "–"]


def test_the_terminal_says_the_verdict_and_what_the_teacher_added() -> None:
    stream = io.StringIO()
    gain = Gain(1.25, 20, 10, 0.0987)
    print_table(BenchResult(MACHINE, (model("student"),), verdict(), gain, ()), Console(file=stream))
    out = " ".join(stream.getvalue().split())
    for part in ("PASS The claim holds.", "keeps 97 %", "95 % to 99 %", "49.5 %", "+1.2 points", "p = 0.099"):
        assert part in out
