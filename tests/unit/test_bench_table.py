"""The tables and the verdict on a terminal."""

from __future__ import annotations

import io
import itertools
from dataclasses import replace

import pytest
from rich.console import Console

from fixtures.benchresults import model, verdict
from fixtures.hosts import MACHINE
from kdtool.benchmark.tables.models import print_table
from kdtool.results.bench import BenchResult, Gain, Latency, ModelDifference, Throughput


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
def test_one_thread_is_held_against_one_thread(void: tuple[str, ...]) -> None:
    alone = Latency(21.75, 22.0, (21.75,) * 64, (), 1, ratio=0.6212, ratio_ci=(0.605, 0.63))
    rows = (replace(model("student"), other_threads=(alone,)),)
    stream = io.StringIO()
    print_table(BenchResult(MACHINE, rows, verdict(), None, (), void=void), Console(file=stream))
    assert ("62.12 (60.5–63.0)" in stream.getvalue()) == ("21.75" in stream.getvalue()) == (not void)


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


def differences(*names: str) -> tuple[ModelDifference, ...]:
    """Of every pair of `names`."""
    return tuple(
        ModelDifference(model, against, 900, 20, 10, 1.111, (-0.5, 2.5), 1.0123, (0.99, 1.03), 0.0987, 0.3)
        for against, model in itertools.combinations(names, 2)
    )


def shown(pairs: tuple[ModelDifference, ...], reference: str = "teacher") -> str:
    stream = io.StringIO()
    claim = verdict(reference=reference)
    result = BenchResult(MACHINE, (model("teacher"),), claim, None, (), differences=pairs)
    print_table(result, Console(file=stream))
    return stream.getvalue()


def test_differences_are_shown_with_their_intervals() -> None:
    out = shown(differences("teacher", "[red]\x1b[31mstudent"))
    for part in ("+1.11 (-0.5 to +2.5)", "101.23 (99.0–103.0)", "20 : 10", "0.099", "0.3", "900 images"):
        assert part in out
    assert "\x1b" not in out
    assert "Against" not in shown(())


def test_where_there_are_many_pairs_those_with_the_reference_are_shown() -> None:
    names = ("teacher", "b", "c", "d", "e", "f")
    assert shown(differences(*names[:5])).count("+1.11") == 10
    assert shown(differences(*names)).count("+1.11") == 5
    assert "10 more with --json" in shown(differences(*names))
    assert shown(differences(*names), "absent").count("+1.11") == 10


def test_the_terminal_says_the_verdict_and_what_the_teacher_added() -> None:
    stream = io.StringIO()
    gain = Gain(1.25, 20, 10, 0.0987)
    print_table(BenchResult(MACHINE, (model("student"),), verdict(), gain, ()), Console(file=stream))
    out = " ".join(stream.getvalue().split())
    for part in (
        "PASS The claim holds.",
        "the student has 97 %",
        "95 % to 99 %",
        "49.5 %",
        "+1.2 percentage points",
        "p = 0.099",
    ):
        assert part in out
