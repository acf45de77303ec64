"""Errors in arguments of a loss, reported as a function's argument or as a field of the recipe."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kdtool.core.errors import UsageError
from kdtool.core.spelling import assigned


class ArgumentError(UsageError):
    """Argument that a loss cannot take.

    Args:
        argument: name of the argument; empty if the problem is not in one argument.
        problem: rest of the message after that name, such as ` is -1; allowed: above 0.`
        hint: next step for the user.
        example: correct `argument=value`, for the end of the hint.
    """

    def __init__(self, argument: str, problem: str, hint: str, example: str = "") -> None:
        super().__init__(f"{argument}{problem}".removeprefix(": "), f"{hint} {example}".rstrip())
        self.argument, self.problem, self.advice, self.example = argument, problem, hint, example

    def in_recipe(self, section: str) -> UsageError:
        """Convert the error for a recipe: it names the field and a way to set it."""
        field = f"{section}.{self.argument}" if self.argument else section
        key, _, value = self.example.partition("=")
        example = assigned({f"{section}.{key}": value}) if key else ""
        return UsageError(f"{field}{self.problem}", f"{self.advice} {example}".rstrip())


@contextmanager
def as_fields(section: str) -> Iterator[None]:
    """Report wrong arguments in the block or in the decorated function as fields of the recipe.

    Raises:
        UsageError: instead of an ArgumentError.
    """
    try:
        yield
    except ArgumentError as error:
        raise error.in_recipe(section) from error
