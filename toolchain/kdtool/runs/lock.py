"""Lock of a run folder, so that only one process at a time works in it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from kdtool.core.errors import LockedError, SetupError
from kdtool.core.files import remove_partial


@contextlib.contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Hold `folder/.lock` (flock) during a block; the system releases the lock if the process dies.

    Unfinished files of processes that died are removed first.

    Raises:
        LockedError: another process holds the lock; the message has its number.
        SetupError: the folder cannot be created or written, or its file system has no locks.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stream = (folder / ".lock").open("a+", encoding="utf-8")
    except OSError as error:
        raise SetupError(
            f"Cannot write in {folder}: {error.strerror or error}.",
            "Correct the permission, or work in another folder.",
        ) from error
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            stream.seek(0)
            raise LockedError(
                f"{folder} is in use by {_holder(stream.read())}.",
                "Wait until this process ends, or work in another folder.",
            ) from error
        except OSError as error:
            raise SetupError(
                f"{folder} cannot be locked: {error.strerror or error}.",
                "Work in a folder whose file system supports flock; NFS needs version 4, or lockd.",
            ) from error
        _sign(stream, folder)
        remove_partial(folder)
        yield


def _sign(stream: TextIO, folder: Path) -> None:
    try:
        stream.seek(0)
        stream.truncate()
        json.dump({"pid": os.getpid(), "host": platform.node()}, stream)
        stream.flush()
    except OSError as error:
        raise SetupError(
            f"Cannot write {folder / '.lock'}: {error.strerror or error}.",
            "Free some space, repair the disk, or work in another folder; then run the same command again.",
        ) from error


def _holder(content: str) -> str:
    try:
        holder = json.loads(content)
        return f"process {holder['pid']} on {holder['host']}"
    except (ValueError, KeyError, TypeError):
        return "another process"
