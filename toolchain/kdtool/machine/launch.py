"""Whether a launcher (torchrun, accelerate launch) started this process as one of several."""

from __future__ import annotations

import os


def process_count() -> int:
    """How many processes the launcher started, on all machines; 1 without one."""
    return _number("WORLD_SIZE", 1)


def process_rank() -> int:
    """Which of them this is; the first is 0."""
    return _number("RANK", 0) if process_count() > 1 else 0


def _number(variable: str, otherwise: int) -> int:
    text = os.environ.get(variable, "")
    return int(text) if text.isdecimal() else otherwise
