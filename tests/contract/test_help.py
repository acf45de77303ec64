"""Every command and every option says what it is for."""

from __future__ import annotations

import re

import click
import pytest

from fixtures.commands import ALL_COMMANDS as ALL
from kdtool.cli import COMMANDS
from kdtool.results.measures import MEASURES


def test_every_command_of_the_table_is_there() -> None:
    assert {f"kdtool {name}" for name in COMMANDS} <= ALL.keys()


@pytest.mark.parametrize("name", COMMANDS)
def test_the_short_help_is_the_first_line_of_the_help(name: str) -> None:
    first_line = (ALL[f"kdtool {name}"].help or "").strip().splitlines()[0]
    assert first_line == COMMANDS[name][1]


@pytest.mark.parametrize("name", ALL)
def test_a_command_says_what_it_does(name: str) -> None:
    text = (ALL[name].help or "").strip()
    assert text
    assert text.splitlines()[0].endswith(".")
    for parameter in ALL[name].params:
        if isinstance(parameter, click.Argument):
            shown = parameter.make_metavar(click.Context(ALL[name]))
            assert any(word in text for word in re.findall("[A-Z]{2,}", shown)), f"{shown} is not explained"


@pytest.mark.parametrize("name", ALL)
def test_an_option_says_what_it_is_for(name: str) -> None:
    for parameter in ALL[name].params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{parameter.opts[0]} has no help"
            assert "." in parameter.help, f"{parameter.opts[0]}: not a sentence"


def test_the_help_of_bench_lists_every_measure() -> None:
    listed = (ALL["kdtool bench"].help or "").partition("Measures:")[2]
    assert set(re.findall(r"\w+(?=.*  )", listed)) == set(MEASURES)


def test_a_misspelt_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    from kdtool.cli import main

    with pytest.raises(SystemExit) as stop:
        main(["reprot"])
    assert stop.value.code == 2
    assert "report" in capsys.readouterr().err
