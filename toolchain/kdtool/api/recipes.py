"""The recipes that come with kdtool."""

from __future__ import annotations


def list_recipes() -> dict[str, str]:
    """The recipes that come with kdtool: name → title. `kdtool recipes --show NAME` prints one in full.

    Example:
        for name, title in kdtool.list_recipes().items():
            print(name, title)
    """
    from kdtool.recipe.files import load_recipe, shipped_recipes

    return {name: load_recipe(name).title for name in shipped_recipes()}
