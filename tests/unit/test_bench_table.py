"""The tables and the verdict on a terminal."""

from __future__ import annotations

import io

from rich.console import Console

from kdtool.bench.table import print_table
from kdtool.core.benchresult import BenchResult, Gain
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
