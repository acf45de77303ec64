"""Files, checksums and the zip of a bundle.

The files of a bundle are written without fsync. If power fails meanwhile, the hashes of the manifest show
the damage, and the bundle is made again.

SHA256SUMS has the format of `sha256sum`. The bundle has one, and so have hub/ and web/. Each lists its own
folder, so that app, hub and page can be copied to different places and checked there.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from kdtool.core.errors import ModelFileError
from kdtool.core.files import sha256_file

SUMS = "SHA256SUMS"
COPY_AGAIN = "Copy the whole bundle again, or make it again with: kdtool bundle"
PARTS = ("", "hub", "web")
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip file can store
MODE = 0o644 << 16
STORED = (".onnx", ".ort", ".png", ".jpg")  # weights shrink by less than a tenth, images not at all
_LINE = re.compile(r"([0-9a-f]{64})  (\S.*)")


def write(path: Path, content: bytes | str) -> None:
    """Write a file; make its folder if necessary."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def copy(source: Path, target: Path) -> None:
    """Copy a file; make the folder of the copy if necessary."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def link(source: Path, target: Path) -> None:
    """Make a hard link to `source`, or a copy if the file system has no links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(OSError):
        os.link(source, target)
        return
    copy(source, target)


def as_json(content: Mapping[str, Any]) -> str:
    """Text of a JSON file with `content`."""
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def part_of(name: str) -> str:
    """Part of the bundle whose SHA256SUMS lists the file `name`: "hub", "web", or "" for the bundle."""
    first = PurePosixPath(name).parts[0]
    return first if first in PARTS else ""


def checksums(folder: Path, names: Iterable[str]) -> str:
    """Text of SHA256SUMS for the files `names`, relative to `folder`."""
    return "".join(f"{sha256_file(folder / name)}  {name}\n" for name in sorted(names))


def differences(bundle: Path) -> Iterator[str]:
    """Yield a message for each file that is missing or changed; a missing hub/ or web/ is no difference.

    Raises:
        ModelFileError: SHA256SUMS is missing or is not a list of checksums.
    """
    if not (bundle / SUMS).is_file():
        raise ModelFileError(
            f"{bundle} is not a bundle: it has no {SUMS}.", "Name the folder that kdtool bundle wrote."
        )
    for part in PARTS:
        folder = bundle / part
        if (folder / SUMS).is_file():
            yield from _differences(folder)


def write_zip(path: Path, top: str, folder: Path, names: Iterable[str]) -> None:
    """Write the files `names` of `folder` into the zip `path`, below the folder `top`.

    The same files give the same bytes.
    """
    with zipfile.ZipFile(path, "w") as archive:
        for name in sorted(names):
            entry = zipfile.ZipInfo(f"{top}/{name}", EPOCH)
            entry.external_attr = MODE
            entry.compress_type = zipfile.ZIP_STORED if name.endswith(STORED) else zipfile.ZIP_DEFLATED
            archive.writestr(entry, (folder / name).read_bytes())


def _differences(folder: Path) -> Iterator[str]:
    for line in (folder / SUMS).read_text("utf-8").splitlines():
        entry = _LINE.fullmatch(line)
        if entry is None or ".." in PurePosixPath(entry[2]).parts or PurePosixPath(entry[2]).is_absolute():
            raise ModelFileError(f"{folder / SUMS}: not a list of checksums ({line[:80]!r}).", COPY_AGAIN)
        path = folder / entry[2]
        if not path.is_file():
            yield f"{path}: missing"
        elif sha256_file(path) != entry[1]:
            yield f"{path}: changed (its SHA-256 is not that of {SUMS})"
