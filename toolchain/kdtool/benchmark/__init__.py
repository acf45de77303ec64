"""Measures models on the machine at hand: accuracy, time, memory and energy; writes bench.json."""
