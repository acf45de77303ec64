"""Reading of recipes: shipped ones, TOML files, overrides of single fields; errors have every wrong field."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from kdtool.core.errors import UsageError
from kdtool.core.spelling import argument, assigned
from kdtool.recipe.settings import Recipe


def shipped_recipes() -> dict[str, Path]:
    """Names and files of the recipes that come with kdtool."""
    return {path.stem: path for path in sorted(_recipes_folder().glob("*.toml"))}


def load_recipe(name_or_file: str, overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe and apply `section.key=value` overrides.

    Raises:
        UsageError: there is no such recipe, it is not TOML, or fields are wrong (the message has all).
    """
    path = _find(name_or_file)
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(
            f"{path}: not valid TOML ({error}).", "Start from a complete recipe: kdtool recipes --show paper"
        ) from error
    for override in overrides:
        _apply(content, override)
    return parse_recipe({"name": path.stem} | content, str(path))


def override_recipe(recipe: Recipe, overrides: Iterable[str]) -> Recipe:
    """Return the recipe with `section.key=value` overrides applied.

    Raises:
        UsageError: an override has another form, or fields are wrong.
    """
    content = recipe.to_json()
    for override in overrides:
        _apply(content, override)
    return parse_recipe(content, f"recipe {recipe.name}")


def parse_recipe(content: dict[str, Any], source: str) -> Recipe:
    """Check the content of a recipe; `source` is its name in messages.

    Raises:
        UsageError: fields are wrong (the message has all).
    """
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        problems = [_describe(problem) for problem in error.errors()]
        hints = [problem.get("ctx", {}).get("hint") for problem in error.errors()]
        raise UsageError(
            "\n".join([f"{source}: {len(problems)} field(s) are wrong.", *problems]),
            (hints[0] if len(hints) == 1 else None)
            or "See all fields with their defaults: kdtool recipes --show paper",
        ) from error


def flatten(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested values to one dictionary with keys such as `section.key`."""
    flat: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _describe(problem: Any) -> str:
    field = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        known = ", ".join(_known_fields(problem["loc"][:-1]))
        return f"  {field}: unknown; allowed here: {known}"
    reason = problem["msg"].removeprefix("Value error, ")
    given = "" if isinstance(problem["input"], dict) else f" (given {problem['input']!r})"
    return f"  {field}: {reason}{given}"


def _known_fields(location: tuple[Any, ...]) -> list[str]:
    section: type[BaseModel] = Recipe
    for part in location:
        annotation = section.model_fields[str(part)].annotation
        assert isinstance(annotation, type)
        section = annotation
    return list(section.model_fields)


def _apply(content: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or len(parts) < 2 or not all(parts):
        raise UsageError(
            f"{argument('set')} {override}: the form must be section.key=value.",
            f"Example: {assigned({'student.epochs': 10})}",
        )
    section = content
    for part in parts[:-1]:
        section = section.setdefault(part, {})
        if not isinstance(section, dict):
            raise UsageError(
                f"{argument('set')} {override}: {part} is a value, not a section.",
                "See all fields with their defaults: kdtool recipes --show paper",
            )
    section[parts[-1]] = _value(text.strip())


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        return text  # a word without quotes, such as the name of an architecture


def _find(name_or_file: str) -> Path:
    shipped = shipped_recipes()
    if name_or_file in shipped:
        return shipped[name_or_file]
    path = Path(name_or_file)
    if path.is_file():
        return path
    raise UsageError(
        f"{argument('recipe')} {name_or_file}: neither a recipe of kdtool ({', '.join(shipped)}) nor a file.",
        "List the recipes with: kdtool recipes",
    )


def _recipes_folder() -> Path:
    installed = Path(str(files("kdtool"))) / "models"
    return installed if installed.is_dir() else Path(__file__).parents[3] / "models"  # in a source checkout
