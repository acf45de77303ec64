"""Opening every file in every runtime, and what the models are then called."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kdtool.core.errors import UsageError
from kdtool.recipe.settings import BenchSettings
from kdtool.runtime import load_runtime
from kdtool.runtime.session import Session


@dataclass(frozen=True)
class Opened:
    """A session of the file number `index`."""

    index: int
    runtime: str
    session: Session


@contextlib.contextmanager
def open_all(paths: Sequence[Path], settings: BenchSettings) -> Iterator[list[Opened]]:
    """Every file in every runtime, all at once, since latency takes them in turns.

    Raises:
        UsageError: a runtime that we do not know, or named twice.
        SetupError: one that is not installed.
        ModelFileError: a file that cannot be opened.
    """
    if len(set(settings.runtimes)) < len(settings.runtimes):
        raise UsageError(f"{', '.join(settings.runtimes)}: a runtime is named twice.", "Name each once.")
    with contextlib.ExitStack() as stack:
        opened = []
        for runtime in settings.runtimes:
            library = load_runtime(runtime)
            for index, path in enumerate(paths):
                opened.append(Opened(index, runtime, library.open_model(path, settings.threads)))
                stack.callback(opened[-1].session.close)
        yield opened


def called(name: str, runtime: str, settings: BenchSettings) -> str:
    """The plain name in the first runtime, `student@openvino` in a further one."""
    return name if runtime == settings.runtimes[0] else f"{name}@{runtime}"
