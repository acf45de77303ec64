"""A zip that is the same byte by byte for the same files."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path

EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest a zip can say
MODE = 0o644 << 16
STORED = (".onnx", ".ort", ".png", ".jpg")  # weights shrink by less than a tenth, pictures not at all


def write_zip(path: Path, top: str, folder: Path, names: Iterable[str]) -> None:
    """Write `names` of `folder` into the zip `path`, below the folder `top`."""
    with zipfile.ZipFile(path, "w") as archive:
        for name in sorted(names):
            entry = zipfile.ZipInfo(f"{top}/{name}", EPOCH)
            entry.external_attr = MODE
            entry.compress_type = zipfile.ZIP_STORED if name.endswith(STORED) else zipfile.ZIP_DEFLATED
            archive.writestr(entry, (folder / name).read_bytes())
