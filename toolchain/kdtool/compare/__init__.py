"""Recipes against one another: one teacher, the same seeds, a baseline each, the test split opened once."""
