"""SHA256SUMS, in the format of `sha256sum`: one in the bundle, one in hub/, one in web/.

Each is for its own folder, so that app, hub and page can go separate ways and be checked there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from kdtool.core.errors import ModelFileError
from kdtool.core.files import sha256_file

SUMS = "SHA256SUMS"
PARTS = ("", "hub", "web")
_LINE = re.compile(r"([0-9a-f]{64})  (\S.*)")


def part_of(name: str) -> str:
    """Which SHA256SUMS a file of the bundle stands in."""
    first = PurePosixPath(name).parts[0]
    return first if first in PARTS else ""


def sums(folder: Path, names: Iterable[str]) -> str:
    """The text for `names`, relative to `folder`."""
    return "".join(f"{sha256_file(folder / name)}  {name}\n" for name in sorted(names))


def differences(bundle: Path) -> Iterator[str]:
    """What is missing or changed of what the lists say; parts that were left behind are not asked.

    Raises:
        ModelFileError: there is no list, or it is none.
    """
    if not (bundle / SUMS).is_file():
        raise ModelFileError(
            f"{bundle} is not a bundle: it has no {SUMS}.", "Name the folder that kdtool bundle wrote."
        )
    for part in PARTS:
        folder = bundle / part
        if (folder / SUMS).is_file():
            yield from _differences(folder)


def _differences(folder: Path) -> Iterator[str]:
    for line in (folder / SUMS).read_text("utf-8").splitlines():
        found = _LINE.fullmatch(line)
        if found is None or ".." in PurePosixPath(found[2]).parts or PurePosixPath(found[2]).is_absolute():
            raise ModelFileError(
                f"{folder / SUMS}: not a list of checksums ({line[:80]!r}).", "Copy it again."
            )
        path = folder / found[2]
        if not path.is_file():
            yield f"{path}: missing"
        elif sha256_file(path) != found[1]:
            yield f"{path}: changed (its SHA-256 is not that of {SUMS})"
