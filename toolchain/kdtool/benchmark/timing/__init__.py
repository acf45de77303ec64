"""Measures time and memory, and watches the machine meanwhile."""
