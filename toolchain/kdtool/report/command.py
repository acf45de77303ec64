"""The command that makes a run again, from what run.json says of it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from kdtool.recipe.files import flatten, load_recipe, shipped_recipes

FALLBACK = "paper"  # a recipe of the user's own is written as its differences from this one
LABELS = ("name", "title")  # say what a recipe is called, not what it does


def command_of(record: Mapping[str, Any], baseline: bool) -> str:
    """The `kdtool run` line whose recipe, seed and photographs are those of `record` (a run.json)."""
    recipe = record["recipe"]
    base = recipe["name"] if recipe["name"] in shipped_recipes() else FALLBACK
    known = flatten(load_recipe(base).to_json())
    words = ["kdtool", "run", str(record["source"]), "--recipe", base, "--seed", str(record["seed"])]
    for key, value in flatten(recipe).items():
        if key not in LABELS and (key not in known or known[key] != value):
            words += ["--set", f"{key}={value if isinstance(value, str) else json.dumps(value)}"]
    return shlex.join([*words, *(["--baseline"] if baseline else [])])
