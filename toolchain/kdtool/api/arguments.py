"""Arguments of the public functions: settings, and the classes and preprocessing of a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from kdtool.core.errors import UsageError
from kdtool.core.modelinfo import ModelInfo
from kdtool.core.preprocess import Preprocess
from kdtool.core.spelling import argument
from kdtool.runtime.onnxbytes.declared import onnx_info

Settings = TypeVar("Settings", bound=BaseModel)


def caller_info(
    name: str, classes: Sequence[str] | None, preprocess: Preprocess | None, role: str = "student"
) -> ModelInfo | None:
    """Make the ModelInfo that a caller states by `classes` and `preprocess`; None if the caller gave neither.

    Raises:
        UsageError: one argument is given without the other, or classes is not a list of different names.
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


def model_info(
    path: Path, file_info: ModelInfo | None, classes: Sequence[str] | None, preprocess: Preprocess | None
) -> ModelInfo:
    """Return the ModelInfo of the file `path`: the one in the file, otherwise the one of the caller.

    Raises:
        UsageError: there is no ModelInfo, or there are two.
    """
    from_caller = caller_info(path.stem, classes, preprocess)
    if file_info is not None and from_caller is not None:
        raise UsageError(
            f"{path} states its own classes and preprocessing.",
            f"Leave out {argument('classes and preprocess')}.",
        )
    info = file_info or from_caller
    if info is None:
        raise UsageError(
            f"{path} states neither its classes nor its preprocessing.",
            f"Give {argument('classes and preprocess')}; classes are in the order of the logits.",
        )
    return info


def info_from_like(path: Path) -> ModelInfo:
    """Read the ModelInfo in the file of the option --like.

    Raises:
        UsageError: the file has no ModelInfo.
        ModelFileError: the file is broken.
    """
    info = onnx_info(path)
    if info is None:
        raise UsageError(
            f"--like {path}: the file states neither its classes nor its preprocessing.",
            "Name a model made by: kdtool export --onnx",
        )
    return info


def checked_settings(kind: type[Settings], **values: Any) -> Settings:
    """Make settings from arguments.

    Raises:
        UsageError: a value is not allowed; the message names every such argument.
    """
    try:
        return kind(**values)
    except ValidationError as error:
        wrong = [
            f"{'.'.join(map(str, fault['loc'])) or 'settings'} is {fault['input']!r}: "
            f"{fault['msg'].removeprefix('Value error, ')}"
            for fault in error.errors()
        ]
        raise UsageError("; ".join(wrong)) from error
