"""What stages say while they work; who shows it is decided by the caller.

The command line shows it with rich (`kdtool.machine.terminal`); tests and callers of the Python interface
pass `QUIET`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Protocol


class Bar(Protocol):
    """A progress bar under way."""

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Go on by `steps`; `note` (loss, accuracy, images/s) replaces the last one."""


class Screen(Protocol):
    """Where a stage reports to."""

    def say(self, text: str) -> None: ...

    def warn(self, text: str) -> None: ...

    def bar(self, title: str, total: int) -> contextlib.AbstractContextManager[Bar]:
        """A bar of `total` steps; on something that is no terminal it stays silent."""


class _QuietBar:
    def advance(self, steps: int = 1, note: str = "") -> None:
        pass


class Quiet:
    """Says nothing."""

    def say(self, text: str) -> None:
        pass

    def warn(self, text: str) -> None:
        pass

    @contextlib.contextmanager
    def bar(self, title: str, total: int) -> Iterator[Bar]:  # noqa: ARG002 (the protocol's names)
        yield _QuietBar()


QUIET: Screen = Quiet()
