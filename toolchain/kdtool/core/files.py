"""Durable writing of files, and content hashes.

If a process or the power dies while kdtool writes a file, the file has its old or its new content,
never a part of it. The steps: write a temporary file in the same folder, fsync, rename, fsync of the
folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from kdtool.core.errors import SetupError

PARTIAL = ".partial"


@contextlib.contextmanager
def durable(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; at the end of the block, rename it durably to `path`.

    On any exception the temporary file is removed and `path` keeps its old content.

    Raises:
        SetupError: the disk is full, read-only or broken (the message has the file and the cause).
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        _fsync(partial)
        partial.replace(path)
        _fsync(path.parent)
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


@contextlib.contextmanager
def scratch(folder: Path) -> Iterator[BinaryIO]:
    """Yield a temporary file in `folder` that has no name and leaves nothing behind.

    Raises:
        SetupError: the disk is full, read-only or broken.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as stream:
            yield stream
    except OSError as error:
        raise _cannot_write(folder, error) from error


def remove_partial(folder: Path) -> None:
    """Remove the unfinished files of killed processes in `folder` and below; hold the folder's lock."""
    for path in list(folder.rglob(f".*{PARTIAL}")):  # hidden files only: a browser's .partial is not ours
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def write_bytes(path: Path, payload: bytes) -> None:
    """Write `payload` to `path` durably."""
    with durable(path) as partial:
        partial.write_bytes(payload)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 to `path` durably."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON to `path` durably.

    Raises:
        ValueError: `value` contains NaN or infinity.
    """
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def sha256_bytes(payload: bytes) -> str:
    """SHA-256 of `payload`, as hexadecimal."""
    return hashlib.sha256(payload).hexdigest()


def sha256_file(path: Path) -> str:
    """SHA-256 of the content of `path`, as hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_json(value: Any) -> str:
    """SHA-256 of the canonical JSON of `value`: equal values have equal hashes."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return sha256_bytes(text.encode("utf-8"))


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _cannot_write(path: Path, error: OSError) -> SetupError:
    return SetupError(
        f"Cannot write {path}: {error.strerror or error}.",
        "Free some space or correct the permission; complete files are unchanged.",
    )
