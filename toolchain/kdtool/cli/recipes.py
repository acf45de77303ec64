"""`kdtool recipes`."""

from __future__ import annotations

import json

import click

from kdtool.cli.options import json_option


@click.command()
@click.option(
    "--show",
    metavar="NAME|FILE",
    help="Print this recipe with all its fields, also those with default values.",
)
@json_option
def command(show: str | None, as_json: bool) -> None:
    """List the recipes, or show one.

    To write your own: copy one, change it, and pass the file to --recipe.
    """
    from kdtool.recipe.files import load_recipe, shipped_recipes

    if show:
        recipe = load_recipe(show)
        content = recipe.to_json()
        for network in recipe.without_precision():
            del content[network]["precision"]  # a copy of this text leaves the choice to the machine too
        click.echo(json.dumps(content, indent=2) if as_json else _as_toml(content))
        return
    recipes = {name: load_recipe(name) for name in shipped_recipes()}
    if as_json:
        click.echo(json.dumps({name: recipe.to_json() for name, recipe in recipes.items()}, indent=2))
        return
    width = max(map(len, recipes))
    for name, recipe in recipes.items():
        click.echo(f"{name:{width}}  {recipe.title}")


def _as_toml(content: dict[str, object], section: str = "") -> str:
    """Write nested tables of strings, numbers and booleans as TOML, which spells the values as JSON does."""
    values = [f"{key} = {json.dumps(value)}" for key, value in content.items() if not isinstance(value, dict)]
    head = [f"\n[{section}]"] if section else []
    tables = [
        _as_toml(value, f"{section}.{key}" if section else key)
        for key, value in content.items()
        if isinstance(value, dict)
    ]
    return "\n".join([*head, *values, *tables])
