"""Runs a model file. A new runtime is one file and one line in `RUNTIMES`.

A runtime is a module with these functions:

    open_model(path, threads=0) -> Session           see `kdtool.runtime.session`
    version() -> str                                 version of its library

Each runtime except the default is an optional extra of this package, with the same name.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from kdtool.core.errors import UsageError, missing_extra

DEFAULT = "onnxruntime"
RUNTIMES = {DEFAULT: "kdtool.runtime.onnxruntime", "openvino": "kdtool.runtime.openvino"}


def load_runtime(name: str = DEFAULT) -> Any:
    """Import the module of a runtime.

    Raises:
        UsageError: no runtime has this name.
        SetupError: the library of the runtime is not installed.
    """
    if name not in RUNTIMES:
        raise UsageError(
            f"No runtime is called {name!r}; allowed: {', '.join(RUNTIMES)}.",
            "The installed runtimes: kdtool doctor",
        )
    try:
        return import_module(RUNTIMES[name])
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("kdtool"):
            raise
        extra = "" if name == DEFAULT else name
        raise missing_extra(str(error.name), f"The runtime {name}", extra) from error
