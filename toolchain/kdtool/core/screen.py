"""Messages of stages while they work; the caller decides how they are shown.

The command line shows them with rich (`kdtool.machine.terminal`); tests and callers of the Python interface
pass `QUIET`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Protocol


class Bar(Protocol):
    """Progress bar that is being shown."""

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Advance by `steps` and show `note` (loss, accuracy, images/s) in place of the previous note."""


class Screen(Protocol):
    """Receiver of the messages, warnings and progress of a stage."""

    def say(self, text: str) -> None: ...

    def warn(self, text: str) -> None: ...

    def bar(self, title: str, total: int) -> contextlib.AbstractContextManager[Bar]:
        """Show a progress bar of `total` steps during a block; show nothing if there is no terminal."""


class _QuietBar:
    def advance(self, steps: int = 1, note: str = "") -> None:
        pass


class Quiet:
    """Screen that shows nothing."""

    def say(self, text: str) -> None:
        pass

    def warn(self, text: str) -> None:
        pass

    @contextlib.contextmanager
    def bar(self, title: str, total: int) -> Iterator[Bar]:  # noqa: ARG002 (the protocol's names)
        yield _QuietBar()


class Held(Quiet):
    """Screen that keeps messages until `tell`, for those that another message should precede."""

    def __init__(self) -> None:
        self._held: list[tuple[bool, str]] = []  # True for a warning

    def say(self, text: str) -> None:
        self._held.append((False, text))

    def warn(self, text: str) -> None:
        self._held.append((True, text))

    def tell(self, screen: Screen) -> None:
        """Give the messages to another screen, in their order."""
        for warning, text in self._held:
            (screen.warn if warning else screen.say)(text)
        self._held.clear()


QUIET: Screen = Quiet()
