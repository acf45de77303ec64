"""The commands the documentation shows: each of them exists, with the options it is shown with."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from kdtool.cli import cli

ROOT = Path(__file__).parents[2]
PAGES = (
    *sorted(ROOT.glob("*.md")),
    ROOT / "models" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
)
BLOCK = re.compile(r"^```(?:console|bash|sh|shell)\n(.*?)^```", re.MULTILINE | re.DOTALL)
OPERATORS = ("|", "&&", "||", ";", ">", ">>", "<", "2>")


def shown(page: Path, program: str) -> list[list[str]]:
    """The lines of the page's console blocks that call `program`, as words; prompts are taken off."""
    text = page.read_text("utf-8") if page.is_file() else ""
    found = []
    for block in BLOCK.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.strip().removeprefix("$ "), comments=True)
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):  # variables before the program
                words = words[1:]
            if words and Path(words[0]).name == program:
                end = next((index for index, word in enumerate(words) if word in OPERATORS), len(words))
                found.append(words[1:end])
    return found


def parse(words: list[str]) -> None:
    """Parse a command line down to its last command, running nothing."""
    context = click.Context(cli, info_name="kdtool", resilient_parsing=False)
    rest = cli.make_parser(context).parse_args(list(words))[1] if words else []
    command: click.Command = cli
    while isinstance(command, click.Group) and rest:
        _, found, rest = command.resolve_command(context, rest)
        assert found is not None
        command = found
        context = click.Context(command, parent=context)
        if isinstance(command, click.Group):
            rest = command.make_parser(context).parse_args(rest)[1]
    if not {"--help", "-h", "--version"} & set(words):
        command.make_context("kdtool", rest, parent=context.parent)


KDTOOL = [(page.relative_to(ROOT).as_posix(), words) for page in PAGES for words in shown(page, "kdtool")]
MAKE = [words for page in PAGES for words in shown(page, "make")]


def test_the_readme_opens_with_the_two_commands() -> None:
    readme = ROOT / "README.md"
    assert [words[:1] for words in shown(readme, "make")][:2] == [["demo"], ["test"]]
    assert shown(readme, "kdtool"), "the README shows no kdtool command"


@pytest.mark.parametrize(
    ("page", "words"), KDTOOL, ids=lambda part: part if isinstance(part, str) else " ".join(part)
)
def test_a_command_in_the_documentation_exists(page: str, words: list[str]) -> None:
    try:
        parse(words)
    except click.ClickException as error:
        pytest.fail(f"{page}: kdtool {' '.join(words)}: {error.format_message()}")


def test_every_make_target_in_the_documentation_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for words in MAKE:
        assert {word for word in words if "=" not in word} <= targets, words


@pytest.mark.parametrize("words", [["teach", "--no-such-option"], ["no-such-command"], ["data", "look"]])
def test_the_parser_of_this_test_notices(words: list[str]) -> None:
    with pytest.raises(click.ClickException):
        parse(words)


@pytest.mark.parametrize(
    "words", [["--help"], ["--version"], ["data", "check", "photos", "--json"], ["recipes"]]
)
def test_the_parser_of_this_test_lets_pass(words: list[str]) -> None:
    parse(words)


LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)[^)]*\)")


@pytest.mark.parametrize("page", (*PAGES, ROOT / "benchmarks" / "README.md"))
def test_every_link_between_pages_leads_somewhere(page: Path) -> None:
    missing = [
        target for target in LINK.findall(page.read_text("utf-8")) if not (page.parent / target).exists()
    ]
    assert not missing, f"{page.relative_to(ROOT)}: {missing}"
