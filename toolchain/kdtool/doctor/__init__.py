"""Checks of `kdtool doctor`: installation, machine, recipe and run."""
