"""How a run was made: every value of its record and of the host that measured it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kdtool.recipe.files import flatten
from kdtool.report.command import command_of

Facts = tuple[tuple[str, tuple[tuple[str, str], ...]], ...]


def facts_of(record: Mapping[str, Any], host: Mapping[str, Any], baseline: bool) -> Facts:
    """Titled groups of names and values as text.

    Args:
        record: run.json, empty where there is none.
        host: that of bench.json.
        baseline: whether the run has trained one.
    """
    rest = {key: value for key, value in record.items() if key not in ("recipe", "versions", "schema")}
    if record:
        rest["command"] = command_of(record, baseline)
    groups = {
        "This run": rest,
        "Recipe": record.get("recipe", {}),
        "Versions": record.get("versions", {}),
        "Host of the measurement": host,
    }
    return tuple(
        (title, tuple((key, _text(value)) for key, value in flatten(content).items()))
        for title, content in groups.items()
        if content
    )


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_text(item) for item in value) or "none"
    if value is None or value == "":
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
