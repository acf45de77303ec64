"""One process at a time in a run directory."""

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
    """Hold `folder/.lock` (flock) for the time of the block; the system frees it if we die.

    Unfinished files of processes that died are removed first.

    Raises:
        LockedError: another process holds it; the message names it.
        SetupError: the folder cannot be made or written, or its file system knows no locks.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stream = (folder / ".lock").open("a+", encoding="utf-8")
    except OSError as error:
        raise SetupError(
            f"Cannot write in {folder}: {error.strerror or error}.",
            "Mend the permission, or work in another folder.",
        ) from error
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            stream.seek(0)
            raise LockedError(
                f"{folder} is in use by {_holder(stream.read())}.",
                "Wait for it to end, or work in another folder.",
            ) from error
        except OSError as error:
            raise SetupError(
                f"{folder} cannot be locked: {error.strerror or error}.",
                "Work in a folder whose file system knows flock; on NFS that is version 4, or lockd.",
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
            "Free some space or mend the disk, or work in another folder; then the same command.",
        ) from error


def _holder(content: str) -> str:
    try:
        holder = json.loads(content)
        return f"process {holder['pid']} on {holder['host']}"
    except (ValueError, KeyError, TypeError):
        return "another process"
