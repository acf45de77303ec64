"""The tables of a bench, and of several beside each other, on a terminal of the usual 80 columns."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from kdtool.benchmark.machines import read_machines
from kdtool.benchmark.tables.machines import print_machines
from kdtool.benchmark.tables.models import print_table
from kdtool.machine.host import Host
from kdtool.results.bench import BenchResult, Latency, ModelResult
from kdtool.results.claim import Verdict

HOST = Host("A CPU", "x86_64", (), 4, 4, 8, None, None, None, None, None, "Linux")
NAMES = ("teacher", "student", "baseline", "teacher-int8", "student-int8")


def measured() -> BenchResult:
    latency = Latency(
        12.34, 13.45, (12.34,) * 64, (), 2, p50_ci=(11.23, 13.21), p90_ci=(12.87, 14.56),
        ratio=0.4917, ratio_ci=(0.479, 0.507),
    )  # fmt: skip
    rows = [
        ModelResult(
            name, name.split("-")[0], "fp32", 0.9963, (0.979, 0.999), 269, 1.0075, (0.992, 1.027),
            21_290_000, 3_663_000_000, 85_140_000, latency, f"{name}.onnx", "0" * 64,
        )
        for name in NAMES
    ]  # fmt: skip
    verdict = Verdict("INCONCLUSIVE", ())
    return BenchResult(HOST, tuple(rows), verdict, None, ())


def terminal(width: int) -> Console:
    return Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)


def shown_by(console: Console) -> list[str]:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def printed(width: int) -> list[str]:
    console = terminal(width)
    print_table(measured(), console)
    return shown_by(console)


@pytest.mark.parametrize("width", [80, 100, 120])
def test_no_name_and_no_interval_breaks_in_its_middle(width: int) -> None:
    lines = printed(width)
    assert max(map(len, lines)) <= width
    out = "\n".join(lines)
    for part in (*NAMES, "(97.9–99.9)", "(99.2–102.7)", "(11.23–13.21)", "(12.87–14.56)", "(47.9–50.7)"):
        assert out.count(part) >= 1, part


def test_there_are_lines_where_they_fit() -> None:
    assert any("│" in line for line in printed(120))
    assert not any("│" in line for line in printed(80))


@pytest.mark.parametrize("width", [80, 100, 120])
def test_machines_side_by_side_have_the_interval_of_every_ratio(width: int, tmp_path: Path) -> None:
    files = [tmp_path / "a.json", tmp_path / "b.json"]
    for path in files:
        path.write_text(json.dumps(measured().to_json()))
    console = terminal(width)
    print_machines(read_machines(files), console)
    lines = shown_by(console)
    assert max(map(len, lines)) <= width
    if width > 80:
        assert sum("(47.9–50.7)" in line for line in lines) == 2 * len(NAMES)
