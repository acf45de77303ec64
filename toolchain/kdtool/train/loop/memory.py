"""Halve the batch until memory suffices, and save the batch size for the next start."""

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
from kdtool.core.spelling import argument, assigned

SMALLEST = 2  # batch normalization is undefined on one image
NOTE = "batch-size.json"
T = TypeVar("T")


def within_memory(
    title: str, attempt: Callable[[int], T], wanted: int, folder: Path, key: str, screen: Screen
) -> T:
    """Call `attempt` with a batch of `wanted` images; halve the batch as long as memory does not suffice.

    The batch size is saved in `folder` for the training `key`, so that it resumes with the same batches.

    Raises:
        SetupError: memory does not suffice for a batch of two images.
    """
    size = saved_batch_size(folder, key) or wanted

    def halve() -> int:
        nonlocal size
        before, size = size, size // 2
        if size < SMALLEST:
            raise SetupError(
                f"{title}: out of memory with a batch of {before} images.",
                f"Free some memory, or train on smaller images in a new {argument('out')}, such as "
                f"{assigned({'data.size': 128})}",
            )
        write_json(folder / NOTE, {"key": key, "batch_size": size})
        screen.warn(f"{title}: out of memory with a batch of {before} images; started again with {size}.")
        return size

    result: T = find_executable_batch_size(attempt, size, halve)()
    return result


def saved_batch_size(folder: Path, key: str) -> int | None:
    """Read the batch size that was saved for the training `key`; None if there is none."""
    try:
        note = json.loads((folder / NOTE).read_bytes())
        return int(note["batch_size"]) if note["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def out_of_memory(error: Exception) -> bool:
    """True if the error of a library means that memory did not suffice."""
    return isinstance(error, MemoryError) or bool(should_reduce_batch_size(error))
