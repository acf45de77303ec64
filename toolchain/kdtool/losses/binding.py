"""Look up a loss by name in a table, check its parameters and bind them."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from kdtool.core.errors import UsageError
from kdtool.core.spelling import assigned
from kdtool.losses.arguments import ArgumentError

ALLOWED = {bool: "true or false", int: "a whole number", float: "a finite number"}


def bind(
    table: Mapping[str, Callable[..., Any]],
    others: Mapping[str, str],
    name: str,
    params: Mapping[str, Any],
    trial: Callable[[Callable[..., Any]], object],
) -> partial[Any]:
    """Return the loss `name` of `table` with `params` bound, after a trial call.

    Args:
        others: losses of the other table: name → hint for the error message.
        params: keyword-only arguments of the loss.
        trial: function that calls the bound loss on a small example; it raises ValueError if the loss is not
            finite.

    Raises:
        ArgumentError: the name is unknown, or the loss does not have or cannot take a parameter.
    """
    if name not in table:
        hint = others.get(name, "List the recipes: kdtool recipes")
        raise ArgumentError("name", f" is {name!r}; allowed: {', '.join(table)}.", hint)
    known = _defaults(table[name])
    unknown = [key for key in params if key not in known]
    if unknown:
        raise ArgumentError(
            unknown[0],
            f": the loss {name!r} has no such parameter; allowed: {', '.join(known) or 'none'}.",
            f"Leave the parameter out, or choose another loss: {', '.join(table)}.",
        )
    for key, value in params.items():
        kind = type(known[key])
        if not _is(kind, value):
            raise ArgumentError(
                key,
                f" is {value!r}; allowed: {ALLOWED[kind]}.",
                "The default:",
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
            f"Leave it out to use the default of the loss, or choose another loss: {', '.join(table)}.",
        ) from error
    return bound


def other_table_hints(section: str, kind: str, names: Iterable[str]) -> dict[str, str]:
    """Hint for each loss of the other table: the section of the recipe where its name belongs."""
    return {name: f"{name} is a {kind} loss: {assigned({f'{section}.name': name})}" for name in names}


def _defaults(loss: Callable[..., Any]) -> dict[str, bool | int | float]:
    """Parameters of a loss with their defaults; a parameter takes values of the type of its default."""
    signature = inspect.signature(loss)
    return {
        key: value.default for key, value in signature.parameters.items() if value.kind is value.KEYWORD_ONLY
    }


def _is(kind: type, value: object) -> bool:
    """True if a parameter of type `kind` takes `value`; 2 is a float, 2.0 no integer, true no number."""
    if kind is bool or isinstance(value, bool):
        return kind is bool and isinstance(value, bool)
    numbers = (int, float) if kind is float else (int,)
    return isinstance(value, numbers) and abs(value) <= sys.float_info.max  # neither NaN nor infinite
