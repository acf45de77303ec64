"""Stand between kdtool and the system: what is about to be written, synced, renamed or removed."""

from __future__ import annotations

import _io
import builtins
import io
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

Before = Callable[[str, str], None]  # (operation, name of the file without process ids and hashes)
SYSTEM = ("fsync", "replace", "rename", "unlink", "mkdir")
_VARYING = re.compile(r"\.\d+\.partial|-[0-9a-f]{16}(?=\.|-)|tmp\w{8}|(?<=int8-|ache_)\w{8}")


def intercept(folder: Path, before: Before, after: Before) -> None:
    """From now on `before` and `after` are called around every operation on a file below `folder`.

    Of a write that `before` lets fail, half of the bytes reach the file. What libraries write without
    Python is not seen.
    """
    for name in SYSTEM:
        setattr(os, name, _around(getattr(os, name), name, folder, before, after))
    original = io.open

    def opened(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        stream = original(file, mode, *arguments, **options)
        if set(mode) & set("wax+") and not isinstance(file, int) and _inside(file, folder):
            return _Stream(stream, _label(file, folder), before, after)
        return stream

    io.open = _io.open = builtins.open = opened  # type: ignore[assignment]  # open has nine overloads


class _Stream:
    """A file under way whose writes are told of; everything else is the file's."""

    def __init__(self, stream: Any, label: str, before: Before, after: Before) -> None:
        self._stream, self._label, self._before, self._after = stream, label, before, after

    def write(self, payload: Any) -> Any:
        try:
            self._before("write", self._label)
        except OSError:
            self._stream.write(payload[: len(payload) // 2])
            raise
        written = self._stream.write(payload)
        self._after("write", self._label)
        return written

    def __enter__(self) -> _Stream:
        self._stream.__enter__()
        return self

    def __exit__(self, *error: Any) -> Any:
        return self._stream.__exit__(*error)

    def __iter__(self) -> Any:
        return iter(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _around(
    function: Callable[..., Any], name: str, folder: Path, before: Before, after: Before
) -> Callable[..., Any]:
    def called(target: Any, *arguments: Any, **options: Any) -> Any:
        path = Path(f"/proc/self/fd/{target}").readlink() if isinstance(target, int) else target
        inside = _inside(path, folder)
        if inside:
            before(name, _label(path, folder))
        result = function(target, *arguments, **options)
        if inside:
            after(name, _label(path, folder))
        return result

    return called


def _inside(path: Any, folder: Path) -> bool:
    return isinstance(path, (str, os.PathLike)) and str(Path(path).absolute()).startswith(str(folder))


def _label(path: Any, folder: Path) -> str:
    name = os.path.relpath(Path(path).absolute(), folder)
    return _VARYING.sub("", name)
