"""Checks of values that a caller gives."""

from __future__ import annotations

import operator
from typing import Any

from kdtool.core.errors import UsageError

LARGEST_SEED = 2**32 - 1  # NumPy takes no larger one


def whole_number(name: str, value: Any, least: int, most: int | None = None) -> int:
    """Return the argument `name` as an int.

    Raises:
        UsageError: the value is not a whole number from `least` to `most`.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if number < least or (most is not None and number > most):
        limits = f"{least} or more" if most is None else f"from {least} to {most}"
        raise UsageError(f"{name} is {value!r}; allowed: a whole number, {limits}.")
    return number


def check_seed(seed: Any) -> int:
    """Return a seed as an int.

    Raises:
        UsageError: the seed is not a whole number that NumPy and torch take.
    """
    return whole_number("seed", seed, 0, LARGEST_SEED)
