"""A loss of a table by name, with its parameters checked and bound."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from kdtool.core.errors import UsageError
from kdtool.losses.arguments import ArgumentError

ALLOWED = {bool: "true or false", int: "a whole number", float: "a finite number"}


def bind(
    table: Mapping[str, Callable[..., Any]],
    others: Mapping[str, str],
    name: str,
    params: Mapping[str, Any],
    trial: Callable[[Callable[..., Any]], object],
) -> partial[Any]:
    """The loss `name` of `table` with `params` bound, after a trial call.

    Args:
        others: losses that another table has, name → its hint.
        params: keyword arguments of the loss alone.
        trial: calls the bound loss on a small example; raises ValueError where the result is no number.

    Raises:
        ArgumentError: unknown name, or parameters the loss does not have or cannot take.
    """
    if name not in table:
        hint = others.get(name, "Recipes: kdtool recipes")
        raise ArgumentError("name", f" is {name!r}; allowed: {', '.join(table)}.", hint)
    known = _defaults(table[name])
    unknown = [key for key in params if key not in known]
    if unknown:
        raise ArgumentError(
            unknown[0],
            f": the loss {name!r} has no such parameter; allowed: {', '.join(known) or 'none'}.",
            f"Leave it out, or choose another loss: {', '.join(table)}.",
        )
    for key, value in params.items():
        kind = type(known[key])
        if not _is(kind, value):
            raise ArgumentError(
                key,
                f" is {value!r}; allowed: {ALLOWED[kind]}.",
                "Its default:",
                f"{key}={str(known[key]).lower()}",
            )
    bound = partial(table[name], **params)
    try:
        trial(bound)
    except UsageError:
        raise
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        given = ", ".join(f"{key}={value!r}" for key, value in params.items())
        raise ArgumentError(
            "",
            f": the loss {name!r} cannot take {given} ({error}).",
            f"Leave it out for the default of the loss, or choose another: {', '.join(table)}.",
        ) from error
    return bound


def elsewhere(section: str, kind: str, names: Iterable[str]) -> dict[str, str]:
    """For each name, the hint to a recipe that gives it in the wrong section."""
    return {name: f"{name} is a {kind} loss: --set {section}.name={name}" for name in names}


def _defaults(loss: Callable[..., Any]) -> dict[str, bool | int | float]:
    """The parameters of a loss with their defaults, whose types are the ones they take."""
    signature = inspect.signature(loss)
    return {
        key: value.default for key, value in signature.parameters.items() if value.kind is value.KEYWORD_ONLY
    }


def _is(kind: type, value: object) -> bool:
    """Whether a parameter of `kind` takes the value: true is no number, 2 is a float, 2.0 no integer."""
    if kind is bool or isinstance(value, bool):
        return kind is bool and isinstance(value, bool)
    numbers = (int, float) if kind is float else (int,)
    return isinstance(value, numbers) and abs(value) <= sys.float_info.max  # neither NaN nor infinite
