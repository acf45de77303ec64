"""Models under test: opened, named, with the images they answer and what they cost."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kdtool.core.errors import UsageError
from kdtool.core.preprocess import Preprocess
from kdtool.data.photographs import Images
from kdtool.recipe.settings import BenchSettings
from kdtool.runtime import load_runtime
from kdtool.runtime.session import Session, input_size
from kdtool.runtime.signature import Tensor

Cost = tuple[int, int]  # parameters, MACs
FREE_SIDE = 224  # of an input whose file leaves the side open and says nothing of its own
NOISE_SEED = 0


@dataclass(frozen=True)
class TestImages:
    """Test images, one or more, as one model wants them.

    Attributes:
        images: (N, S, S, 3) uint8.
        labels: (N,) indices of its classes.
    """

    images: Images
    labels: npt.NDArray[np.int64]
    preprocess: Preprocess
    classes: int


@dataclass(frozen=True)
class Candidate:
    """A model under test.

    Attributes:
        name: the plain name in the first runtime, `student@openvino` in a further one.
        role, precision: None of a file that states none.
        session: the loaded model.
        images: in the same order for all candidates; None where accuracy is not measured.
    """

    name: str
    role: str | None
    precision: str | None
    runtime: str
    session: Session
    images: TestImages | None = None

    @property
    def image(self) -> Tensor:
        """What latency is measured on: the first test image, otherwise uniform noise."""
        form = self.session.input_format
        if self.images is not None:
            return form.tensor(np.asarray(self.images.images[:1]), self.images.preprocess)
        height, width = self.session.input_shape[2:]
        side = input_size(self.session) or FREE_SIDE
        return form.noise(height or side, width or side, NOISE_SEED)


@contextlib.contextmanager
def open_all(paths: Sequence[Path], settings: BenchSettings) -> Iterator[dict[str, list[Session]]]:
    """Open every file in every runtime, all at once, since latency takes them in turns.

    Returns:
        runtime → sessions, in the order of `paths`.

    Raises:
        UsageError: a runtime that we do not know, or named twice.
        SetupError: one that is not installed.
        ModelFileError: a file that cannot be opened.
    """
    if len(set(settings.runtimes)) < len(settings.runtimes):
        raise UsageError(f"{', '.join(settings.runtimes)}: a runtime is named twice.", "Name each once.")
    with contextlib.ExitStack() as stack:
        opened: dict[str, list[Session]] = {runtime: [] for runtime in settings.runtimes}
        for runtime, sessions in opened.items():
            library = load_runtime(runtime)
            for path in paths:
                sessions.append(library.open_model(path, settings.threads))
                stack.callback(sessions[-1].close)
        yield opened


def name_in(runtime: str, name: str, settings: BenchSettings) -> str:
    """The name of a candidate, from that of its model."""
    return name if runtime == settings.runtimes[0] else f"{name}@{runtime}"


def costs_of(
    candidates: Sequence[Candidate], count: Callable[[Path], Cost | None] | None
) -> list[Cost | None]:
    """What each file states; otherwise what its float twin states; otherwise what can be counted."""
    stated = [_stated(candidate.session) for candidate in candidates]
    twins = {
        candidate.role: cost
        for candidate, cost in zip(candidates, stated, strict=True)
        if candidate.precision == "fp32"
    }
    costs = []
    for candidate, own in zip(candidates, stated, strict=True):
        cost = own or (twins.get(candidate.role) if candidate.role else None)
        costs.append(count(candidate.session.path) if cost is None and count is not None else cost)
    return costs


def _stated(session: Session) -> Cost | None:
    info = session.info
    return (info.params, info.macs) if info is not None and info.params and info.macs else None
