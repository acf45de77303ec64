"""Messages and progress on standard error, with rich; without a terminal, lines and no progress bars."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from kdtool.core.screen import QUIET, Bar, Screen
from kdtool.machine.launch import process_rank


class _RichBar:
    def __init__(self, progress: Progress, title: str, total: int) -> None:
        self._progress = progress
        self._task = progress.add_task(escape(title), total=total, note="")

    def advance(self, steps: int = 1, note: str = "") -> None:
        self._progress.update(self._task, advance=steps, note=escape(note))


class Terminal:
    """Screen (`kdtool.core.screen.Screen`) on standard error, so that standard output has only results."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def say(self, text: str) -> None:
        self._console.print(escape(text), highlight=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        self._console.print(f"[yellow]Warning:[/] {escape(text)}", highlight=False, soft_wrap=True)

    @contextlib.contextmanager
    def bar(self, title: str, total: int) -> Iterator[Bar]:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(),
        )
        visible = self._console.is_terminal
        with Progress(*columns, console=self._console, transient=True, disable=not visible) as progress:
            yield _RichBar(progress, title, total)


def open_screen() -> Screen:
    """Return the screen of a command; of several processes, only the first one prints."""
    if process_rank():
        return QUIET
    return Terminal(Console(stderr=True))


def screen_of(quiet: bool) -> Screen:
    """Return the screen of a function of the Python interface."""
    return QUIET if quiet else open_screen()
