"""What a model file says of itself, or what the caller says of a file that says nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from kdtool.core.errors import UsageError
from kdtool.core.modelinfo import ModelInfo
from kdtool.core.preprocess import Preprocess
from kdtool.runtime.onnxbytes.declared import onnx_info

Settings = TypeVar("Settings", bound=BaseModel)


def given(
    name: str, classes: Sequence[str] | None, preprocess: Preprocess | None, role: str = "student"
) -> ModelInfo | None:
    """The record that `classes` and `preprocess` make; None where the caller gave neither.

    Raises:
        UsageError: one of them without the other, or no list of different names.
    """
    if classes is None and preprocess is None:
        return None
    if classes is None or preprocess is None:
        missing = "classes" if classes is None else "preprocess"
        raise UsageError(
            f"{missing} is missing; allowed: classes and preprocess together, or neither.",
            'Example: classes=["cat", "dog"], preprocess=kdtool.Preprocess(resize=256, size=224)',
        )
    names = tuple(classes)
    if isinstance(classes, str) or not names or len(set(names)) < len(names):
        raise UsageError(
            f"classes is {classes!r}; allowed: different names, in the order of the logits.",
            'Example: classes=["cat", "dog"]',
        )
    return ModelInfo(role, name, names, preprocess)


def stated(
    path: Path, own: ModelInfo | None, classes: Sequence[str] | None, preprocess: Preprocess | None
) -> ModelInfo:
    """The record of the file `path`: its own, or the caller's where the file has none.

    Raises:
        UsageError: there is neither, or there are both.
    """
    other = given(path.stem, classes, preprocess)
    if own is not None and other is not None:
        raise UsageError(
            f"{path} states its own classes and preprocessing; allowed: neither classes nor preprocess.",
            "Leave both out.",
        )
    found = own or other
    if found is None:
        raise UsageError(
            f"{path} states neither its classes nor its preprocessing.",
            "Give classes, in the order of the logits, and preprocess; on the command line: --like FILE",
        )
    return found


def stated_in(path: Path) -> ModelInfo:
    """The record in the file of the option --like.

    Raises:
        UsageError: the file has none.
        ModelFileError: it is broken.
    """
    info = onnx_info(path)
    if info is None:
        raise UsageError(
            f"--like {path}: states neither its classes nor its preprocessing.",
            "Name a model made by: kdtool export --onnx",
        )
    return info


def checked(kind: type[Settings], **values: Any) -> Settings:
    """The settings of these values.

    Raises:
        UsageError: a value is not allowed; names every such argument.
    """
    try:
        return kind(**values)
    except ValidationError as error:
        wrong = [
            f"{'.'.join(map(str, one['loc'])) or 'settings'} is {one['input']!r}: "
            f"{one['msg'].removeprefix('Value error, ')}"
            for one in error.errors()
        ]
        raise UsageError("; ".join(wrong)) from error
