"""Limits that options of commands share with recipes and with what obeys them."""

from __future__ import annotations

MOST_THREADS = 1024
MOST_SAMPLES = 100_000  # of one model's latency: they are kept one by one
