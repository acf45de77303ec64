"""Processes that a launcher (torchrun, accelerate launch) started together."""

from __future__ import annotations

import os


def process_count() -> int:
    """Number of processes that the launcher started on all machines; 1 without a launcher."""
    return _number("WORLD_SIZE", 1)


def process_rank() -> int:
    """Rank of this process among the processes of the launcher; the first is 0."""
    return _number("RANK", 0) if process_count() > 1 else 0


def _number(variable: str, default: int) -> int:
    text = os.environ.get(variable, "")
    return int(text) if text.isdecimal() else default
