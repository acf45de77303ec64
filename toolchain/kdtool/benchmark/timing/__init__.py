"""Measures time and memory, and watches the machine during the measurement."""
