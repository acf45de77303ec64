"""Runs a model file. A new runtime is one file and one line in `RUNTIMES`.

A runtime is a module with

    open_model(path, threads=0) -> Session           see `kdtool.runtime.session`
    version() -> str                                 of the library behind it

Those other than the default are optional extras of the same name.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from kdtool.core.errors import SetupError, UsageError

DEFAULT = "onnxruntime"
RUNTIMES = {DEFAULT: "kdtool.runtime.onnxruntime", "openvino": "kdtool.runtime.openvino"}


def load_runtime(name: str = DEFAULT) -> Any:
    """The module of a runtime, imported only when asked for.

    Raises:
        UsageError: no runtime has this name.
        SetupError: it is not installed.
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
        raise SetupError(
            f"The runtime {name} needs the package '{error.name}', which is not installed.",
            f'Install it: pip install "kdtool[{name}]"' if name != DEFAULT else "pip install kdtool",
        ) from error
