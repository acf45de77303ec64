"""A screen that remembers, for tests of what a stage says."""

from __future__ import annotations

from kdtool.core.screen import Quiet


class Recorder(Quiet):
    """Keeps what was said, what was warned of, and both in their order."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.warned: list[str] = []
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)
        self.lines.append(text)

    def warn(self, text: str) -> None:
        self.warned.append(text)
        self.lines.append(f"warning: {text}")
