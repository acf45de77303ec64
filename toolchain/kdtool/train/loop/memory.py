"""A batch for which memory does not suffice is halved until it does, and that is remembered."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from accelerate.utils import find_executable_batch_size
from accelerate.utils.memory import should_reduce_batch_size

from kdtool.core.errors import SetupError
from kdtool.core.files import write_json
from kdtool.core.screen import Screen

SMALLEST = 2  # batch normalization is undefined on one image
NOTE = "batch-size.json"
T = TypeVar("T")


def within_memory(
    title: str, attempt: Callable[[int], T], wanted: int, folder: Path, key: str, screen: Screen
) -> T:
    """`attempt` with a batch of `wanted` images, or of half as many, until it does not run out of memory.

    An attempt that ran out is begun anew. What was found is kept in `folder` for the training `key`, so
    that resuming it goes on with the same batches.

    Raises:
        SetupError: memory does not suffice for a batch of two images.
    """
    size = remembered(folder, key) or wanted

    def halve() -> int:
        nonlocal size
        before, size = size, size // 2
        if size < SMALLEST:
            raise SetupError(
                f"{title}: out of memory with a batch of {before} images.",
                "Free some memory, or train on smaller images, such as --set data.size=128 in a new --out.",
            )
        write_json(folder / NOTE, {"key": key, "batch_size": size})
        screen.warn(f"{title}: out of memory with a batch of {before} images; begun anew with {size}.")
        return size

    result: T = find_executable_batch_size(attempt, size, halve)()
    return result


def remembered(folder: Path, key: str) -> int | None:
    """The size of batch that was found for the training `key`."""
    try:
        note = json.loads((folder / NOTE).read_bytes())
        return int(note["batch_size"]) if note["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def out_of_memory(error: Exception) -> bool:
    """Whether a library's error says that memory did not suffice."""
    return isinstance(error, MemoryError) or bool(should_reduce_batch_size(error))
