"""Sources of photographs. A new source is one file and one line in `SOURCES`.

A source module has
    handles(data) -> bool     whether DATA, as given on the command line, is for this source
    load(data) -> Listing     its samples; every one yields encoded bytes, so there is one road:
                              bytes → kdtool.core.preprocess.decode → pixels
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Protocol

from kdtool.core.errors import UsageError
from kdtool.core.text import printable
from kdtool.data.listing import Listing
from kdtool.data.sources import digits, folder, manifest, torchvision


class Source(Protocol):
    """The interface of a source module."""

    def handles(self, data: str | None) -> bool: ...

    def load(self, data: str | None) -> Listing: ...


# The first that handles DATA has it; a folder that is called like a data set is given as ./NAME.
SOURCES: dict[str, Source] = {
    digits.NAME: digits,
    "torchvision": torchvision,
    "manifest": manifest,
    "folder": folder,
}


def load_listing(data: str | None) -> Listing:
    """The samples of DATA.

    Raises:
        UsageError: DATA is nothing any source knows.
        DataError: it is, but its structure is not one we can read.
        SetupError: a package or the network is missing.
    """
    return _source_of(data).load(data)


def resolve(data: str | None) -> str:
    """DATA as it is recorded: a data set's name as it is, a path made absolute; None is the digits.

    Raises:
        UsageError: DATA is nothing any source knows.
    """
    source = _source_of(data)
    if data is None:
        return digits.NAME
    if source in (digits, torchvision):
        return data
    path = str(Path(data).resolve())
    _require_text(path)
    return path


def default_recipe(data: str | None) -> str:
    """The recipe that goes with DATA where none is named."""
    return "digits" if _source_of(data) is digits else "paper"


def _source_of(data: str | None) -> Source:
    _require_text(data or "")
    for source in SOURCES.values():
        if source.handles(data):
            return source
    names = (digits.NAME, *torchvision.DATASETS)
    close = difflib.get_close_matches(str(data), names, n=1)
    raise UsageError(
        f"DATA {data}: no such folder, no manifest (.csv, .jsonl) and no data set kdtool knows.",
        f"Did you mean '{close[0]}'?" if close else f"Data sets by name: {', '.join(names)}",
    )


def _require_text(data: str) -> None:
    """DATA is recorded in UTF-8 and found again by what was recorded."""
    try:
        data.encode()
    except UnicodeEncodeError:
        raise UsageError(
            f"DATA {printable(data)}: the path is not UTF-8.",
            "Rename the folder, or give a link to it: ln -s FOLDER photographs",
        ) from None
