"""Packages that kdtool needs, and their installed versions, read from metadata without an import.

An editable install keeps the metadata of the time of its installation. After a change of pyproject.toml,
install it again: pip install -e .
"""

from __future__ import annotations

import functools
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from kdtool.core.errors import missing_extra

TRAIN = "train"  # the extra with the packages for training, export and quantization


@functools.cache
def required(extra: str = "") -> dict[str, SpecifierSet]:
    """Allowed versions of each package that kdtool needs on this system, or that `extra` adds.

    The result is empty if kdtool itself is not installed, such as in a source tree on PYTHONPATH.
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
    """Versions of Python and of the installed ones of `packages`; by default of all that kdtool needs."""
    versions = {"python": platform.python_version()}
    for package in (*required(), *required(TRAIN)) if packages is None else packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def require_training(command: str) -> None:
    """Raise SetupError if a package is missing that training, export or quantization needs."""
    for package in missing_for_training():
        raise missing_extra(package, f"kdtool {command}")


def missing_for_training() -> list[str]:
    """List the packages of the extra `train` that are not installed."""
    wanted = tuple(required(TRAIN)) or ("torch",)  # a source tree has no metadata that lists packages
    installed = versions_of(wanted)
    return [package for package in wanted if package not in installed]
