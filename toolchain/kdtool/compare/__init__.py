"""Comparison of recipes: one teacher, the same seeds, a baseline for each, the test split read once."""
