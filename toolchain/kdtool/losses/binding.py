"""A loss of a table by name, with its parameters checked and bound."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from kdtool.core.errors import UsageError


def bind(
    section: str,
    table: Mapping[str, Callable[..., Any]],
    others: Mapping[str, str],
    name: str,
    params: Mapping[str, Any],
    trial: Callable[[Callable[..., Any]], object],
) -> partial[Any]:
    """The loss `name` of `table` with `params` bound, after a trial call.

    Args:
        section: of the recipe, as messages name it.
        others: losses that another section takes, name → its hint.
        params: keyword arguments of the loss alone.
        trial: calls the bound loss on a small example.

    Raises:
        UsageError: unknown name, or parameters the loss does not have or cannot take.
    """
    if name not in table:
        hint = others.get(name, "Recipes: kdtool recipes")
        raise UsageError(f"{section}.name is {name!r}; allowed: {', '.join(table)}.", hint)
    known = list(_parameters(table[name]))
    unknown = [key for key in params if key not in known]
    if unknown:
        raise UsageError(
            f"{section}.{unknown[0]}: the loss {name!r} has no such parameter; allowed: "
            f"{', '.join(known) or 'none'}.",
            f"Leave it out, or choose another loss: {', '.join(table)}.",
        )
    bound = partial(table[name], **params)
    try:
        trial(bound)
    except (TypeError, ValueError, RuntimeError) as error:
        given = ", ".join(f"{key}={value!r}" for key, value in params.items())
        raise UsageError(
            f"{section}: the loss {name!r} cannot take {given} ({error}).",
            "Parameters are numbers, but for standardize, which is true or false.",
        ) from error
    return bound


def elsewhere(section: str, kind: str, names: Iterable[str]) -> dict[str, str]:
    """For each name, the hint to a recipe that gives it in the wrong section."""
    return {name: f"{name} is a {kind} loss: --set {section}.name={name}" for name in names}


def _parameters(loss: Callable[..., Any]) -> Iterable[str]:
    signature = inspect.signature(loss)
    return (key for key, value in signature.parameters.items() if value.kind is value.KEYWORD_ONLY)
