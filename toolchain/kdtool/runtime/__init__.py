"""Running an ONNX file. A new runtime is one file and one line in `RUNTIMES`.

A runtime is a module with

    open_model(path, threads=0) -> Session           see `kdtool.runtime.session`
    version() -> str                                 of the library behind it
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from kdtool.core.errors import UsageError

RUNTIMES = {"onnxruntime": "kdtool.runtime.onnxruntime"}


def load_runtime(name: str = "onnxruntime") -> Any:
    """The module of a runtime, imported only when asked for.

    Raises:
        UsageError: no runtime has this name.
    """
    if name not in RUNTIMES:
        raise UsageError(
            f"No runtime is called {name!r}; allowed: {', '.join(RUNTIMES)}.",
            "The installed runtimes: kdtool doctor",
        )
    return import_module(RUNTIMES[name])
