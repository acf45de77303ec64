"""A folder of photographs without labels, at any depth: `unlabelled:FOLDER`.

`data.unlabelled` of a recipe names the folder. All its photographs have the label `NO_LABEL`, which is no
class of the data; the student learns from them what the teacher answers.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from kdtool.core.errors import DataError
from kdtool.core.spelling import argument
from kdtool.data.listing import Listing, Sample
from kdtool.data.sources.folder import photo_files

PREFIX = "unlabelled:"
NO_LABEL = ""


def handles(data: str | None) -> bool:
    """True if DATA is a folder of photographs without labels."""
    return data is not None and data.startswith(PREFIX)


def load(data: str | None) -> Listing:
    """List the photo files of the folder.

    Raises:
        DataError: there is no such folder, or no photo file in it.
        SetupError: a folder cannot be read.
    """
    folder = str(data).removeprefix(PREFIX)
    root, ignored = Path(folder), Counter[str]()
    samples = tuple(
        Sample(path.relative_to(root).as_posix(), NO_LABEL, "train", path.read_bytes)
        for path in (photo_files(root, set(), ignored) if root.is_dir() else ())
    )
    if not samples:
        problem = "has no photo file" if root.is_dir() else "is not a folder"
        raise DataError(
            f"{folder} {problem}; {argument('data.unlabelled')} takes a folder of photographs, at any depth.",
            f"Give such a folder, or leave {argument('data.unlabelled')} out.",
        )
    return Listing(folder, samples, {"train": (NO_LABEL,)}, (), dict(sorted(ignored.items())))
