"""Sources of photographs. A new source is one file and one line in `SOURCES`.

A source module has
    handles(data) -> bool     True if DATA, as given on the command line, is for this source
    load(data) -> Listing     the samples; each gives encoded bytes, so that all pixels are made in one way:
                              bytes → kdtool.core.preprocess.decode → pixels
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Protocol

from kdtool.core.errors import UsageError
from kdtool.core.spelling import argument
from kdtool.core.text import printable
from kdtool.data.listing import Listing
from kdtool.data.sources import digits, folder, manifest, torchvision, unlabelled


class Source(Protocol):
    """The interface of a source module."""

    def handles(self, data: str | None) -> bool: ...

    def load(self, data: str | None) -> Listing: ...


# The first source that handles DATA loads it; a folder with the name of a data set is given as ./NAME.
SOURCES: dict[str, Source] = {
    digits.NAME: digits,
    "torchvision": torchvision,
    "manifest": manifest,
    "folder": folder,
}


def load_listing(data: str | None, name: str = "data") -> Listing:
    """List the samples of DATA.

    Raises:
        UsageError: no source knows DATA.
        DataError: a source knows DATA, but cannot read its structure.
        SetupError: a package or the network is missing.
    """
    return _source_of(data, name).load(data)


def resolve(data: str | None) -> str:
    """Return DATA for the record: the name of a data set unchanged, a path made absolute; None is the digits.

    Raises:
        UsageError: no source knows DATA.
    """
    source = _source_of(data)
    if data is None:
        return digits.NAME
    if source in (digits, torchvision, unlabelled):
        return data
    path = str(Path(data).resolve())
    _require_text(path)
    return path


def default_recipe(data: str | None) -> str:
    """Name the recipe for DATA if the user names none."""
    return "digits" if _source_of(data) is digits else "paper"


def _source_of(data: str | None, name: str = "data") -> Source:
    _require_text(data or "", name)
    for source in (*SOURCES.values(), unlabelled):  # the last is no DATA: it has no classes
        if source.handles(data):
            return source
    names = (digits.NAME, *torchvision.DATASETS)
    close = difflib.get_close_matches(str(data), names, n=1)
    raise UsageError(
        f"{argument(name)} {data}: there is no such folder, manifest (.csv, .jsonl) or data set that "
        "kdtool knows.",
        f"Did you mean '{close[0]}'?" if close else f"Data sets by name: {', '.join(names)}",
    )


def _require_text(data: str, name: str = "data") -> None:
    """Raise UsageError if DATA is not UTF-8, since the record of a run could not name it."""
    try:
        data.encode()
    except UnicodeEncodeError:
        raise UsageError(
            f"{argument(name)} {printable(data)}: the path is not UTF-8.",
            "Rename the folder, or give a link to it: ln -s FOLDER photographs",
        ) from None
