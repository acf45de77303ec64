"""Models under test: opened and named, with their test images and their cost."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kdtool.core.errors import UsageError
from kdtool.core.preprocess import Preprocess
from kdtool.data.pixels.photographs import Images
from kdtool.recipe.settings import BenchSettings
from kdtool.runtime import load_runtime
from kdtool.runtime.session import Session, input_size
from kdtool.runtime.signature import Tensor

Cost = tuple[int, int]  # parameters, MACs
FREE_SIDE = 224  # pixels; side of the input if the file neither fixes nor states it
NOISE_SEED = 0


@dataclass(frozen=True)
class TestImages:
    """Test images, one or more, for one model.

    Attributes:
        images: (N, S, S, 3) uint8.
        labels: (N,) indices into the classes of the model.
        preprocess: preprocessing of the model.
        classes: number of classes of the model.
    """

    images: Images
    labels: npt.NDArray[np.int64]
    preprocess: Preprocess
    classes: int


@dataclass(frozen=True)
class Candidate:
    """A model under test.

    Attributes:
        name: plain name in the first runtime, `student@openvino` in a further runtime.
        role, precision: role and precision that the file states, or None.
        session: the loaded model.
        images: test images, in the same order for all candidates; None if accuracy is not measured.
    """

    name: str
    role: str | None
    precision: str | None
    runtime: str
    session: Session
    images: TestImages | None = None

    @property
    def image(self) -> Tensor:
        """Input for the latency: the first test image, otherwise uniform noise."""
        input_format = self.session.input_format
        if self.images is not None:
            return input_format.tensor(np.asarray(self.images.images[:1]), self.images.preprocess)
        height, width = self.session.input_shape[2:]
        side = input_size(self.session) or FREE_SIDE
        return input_format.noise(height or side, width or side, NOISE_SEED)


@contextlib.contextmanager
def open_all(paths: Sequence[Path], settings: BenchSettings) -> Iterator[dict[str, list[Session]]]:
    """Open every file in every runtime at the same time, since latency is measured in turns.

    Returns:
        runtime → sessions, in the order of `paths`.

    Raises:
        UsageError: a runtime is unknown or named twice.
        SetupError: a runtime is not installed.
        ModelFileError: a file cannot be opened.
    """
    if len(set(settings.runtimes)) < len(settings.runtimes):
        raise UsageError(
            f"{', '.join(settings.runtimes)}: a runtime is named twice.", "Name each runtime once."
        )
    with contextlib.ExitStack() as stack:
        opened: dict[str, list[Session]] = {runtime: [] for runtime in settings.runtimes}
        for runtime, sessions in opened.items():
            library = load_runtime(runtime)
            for path in paths:
                sessions.append(library.open_model(path, settings.threads))
                stack.callback(sessions[-1].close)
        yield opened


def name_in(runtime: str, name: str, settings: BenchSettings) -> str:
    """Make the name of a candidate from the name of its model and its runtime."""
    return name if runtime == settings.runtimes[0] else f"{name}@{runtime}"


def costs_of(
    candidates: Sequence[Candidate], count: Callable[[Path], Cost | None] | None
) -> list[Cost | None]:
    """Find the cost of each candidate.

    The cost is the one that the file states, otherwise the one that the FP32 model of the same role states,
    otherwise the one that `count` finds in the file.
    """
    stated_costs = [_stated_cost(candidate.session) for candidate in candidates]
    by_role = {
        candidate.role: cost
        for candidate, cost in zip(candidates, stated_costs, strict=True)
        if candidate.precision == "fp32"
    }
    costs = []
    for candidate, stated_cost in zip(candidates, stated_costs, strict=True):
        cost = stated_cost or (by_role.get(candidate.role) if candidate.role else None)
        costs.append(count(candidate.session.path) if cost is None and count is not None else cost)
    return costs


def _stated_cost(session: Session) -> Cost | None:
    info = session.info
    return (info.params, info.macs) if info is not None and info.params and info.macs else None
