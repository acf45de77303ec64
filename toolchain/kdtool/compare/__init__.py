"""Compares recipes: one teacher, the same seeds, a baseline each, the test split read once."""
