"""List the recipes that come with kdtool."""

from __future__ import annotations


def list_recipes() -> dict[str, str]:
    """List the recipes that come with kdtool: name → title. `kdtool recipes --show NAME` prints a recipe.

    Example:
        for name, title in kdtool.list_recipes().items():
            print(name, title)
    """
    from kdtool.recipe.files import load_recipe, shipped_recipes

    return {name: load_recipe(name).title for name in shipped_recipes()}
