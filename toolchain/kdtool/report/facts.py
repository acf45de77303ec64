"""The facts of a run: every value of its record and of the host that measured it, and the command."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from kdtool.recipe.files import flatten, load_recipe, shipped_recipes

FALLBACK = "paper"  # the command writes a recipe that does not ship with kdtool as changes of this recipe
LABELS = ("name", "title")  # fields of a recipe that have no effect on the training

Facts = tuple[tuple[str, tuple[tuple[str, str], ...]], ...]


def facts_of(record: Mapping[str, Any], host: Mapping[str, Any], baseline: bool) -> Facts:
    """Collect titled groups of names and values as text.

    Args:
        record: content of run.json; empty if there is none.
        host: the host of bench.json.
        baseline: True if the run has a trained baseline.
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


def command_of(record: Mapping[str, Any], baseline: bool) -> str:
    """Write the `kdtool run` command with the recipe, seed and photographs of `record` (a run.json)."""
    recipe = record["recipe"]
    base = recipe["name"] if recipe["name"] in shipped_recipes() else FALLBACK
    known = flatten(load_recipe(base).to_json())
    words = ["kdtool", "run", str(record["source"]), "--recipe", base, "--seed", str(record["seed"])]
    for key, value in flatten(recipe).items():
        if key not in LABELS and (key not in known or known[key] != value):
            words += ["--set", f"{key}={value if isinstance(value, str) else json.dumps(value)}"]
    return shlex.join([*words, *(["--baseline"] if baseline else [])])


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_text(item) for item in value) or "none"
    if value is None or value == "":
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
