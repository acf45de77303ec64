"""Recipes: settings of a TOML file, their defaults, and advice about them."""
