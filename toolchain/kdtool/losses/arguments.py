"""Wrong arguments of a loss: said as the caller of the function wrote them, or as the recipe's field."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager

from kdtool.core.errors import UsageError


class ArgumentError(UsageError):
    """An argument that a loss cannot take.

    Args:
        argument: its name; empty where the problem is not that of one argument.
        problem: what is wrong with the argument, from the mark after its name on: ` is -1; allowed: above 0.`
        hint: what to do next.
        example: `argument=value` that is right, for the end of the hint.
    """

    def __init__(self, argument: str, problem: str, hint: str, example: str = "") -> None:
        super().__init__(f"{argument}{problem}".removeprefix(": "), f"{hint} {example}".rstrip())
        self.argument, self.problem, self.advice, self.example = argument, problem, hint, example

    def in_recipe(self, section: str) -> UsageError:
        """The same error for the command line: the field of the recipe, and how `--set` changes it."""
        field = f"{section}.{self.argument}" if self.argument else section
        example = f"--set {shlex.quote(f'{section}.{self.example}')}" if self.example else ""
        return UsageError(f"{field}{self.problem}", f"{self.advice} {example}".rstrip())


@contextmanager
def as_fields(section: str) -> Iterator[None]:
    """Name wrong arguments within the block, or within the decorated function, as fields of the recipe.

    Raises:
        UsageError: instead of an ArgumentError.
    """
    try:
        yield
    except ArgumentError as error:
        raise error.in_recipe(section) from error
