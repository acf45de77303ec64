"""Packages that kdtool needs, by its installed metadata, and their versions: read without importing them.

The metadata of an editable install is that of the day it was installed; after a change of pyproject.toml:
pip install -e .
"""

from __future__ import annotations

import functools
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from kdtool.core.errors import missing_extra

TRAIN = "train"  # the extra of what trains, exports and quantizes


@functools.cache
def required(extra: str = "") -> dict[str, SpecifierSet]:
    """Package → allowed versions, of all that kdtool needs on this system, or that `extra` adds to it.

    Empty where kdtool itself is not installed, as in a source tree on PYTHONPATH.
    """
    try:
        entries = [Requirement(text) for text in requires("kdtool") or ()]
    except PackageNotFoundError:
        return {}

    def wanted(entry: Requirement, extra: str) -> bool:
        return entry.marker is None or entry.marker.evaluate({"extra": extra})

    return {
        entry.name: entry.specifier
        for entry in entries
        if wanted(entry, extra) and not (extra and wanted(entry, ""))
    }


def versions_of(packages: Iterable[str] | None = None) -> dict[str, str]:
    """Python and those of `packages` that are installed, with their versions; by default all of kdtool's."""
    found = {"python": platform.python_version()}
    for package in (*required(), *required(TRAIN)) if packages is None else packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def require_training(command: str) -> None:
    """Raise SetupError naming the extra if a package that training or export needs is missing."""
    installed = versions_of(required(TRAIN))
    for package in required(TRAIN):
        if package not in installed:
            raise missing_extra(package, f"kdtool {command}")
