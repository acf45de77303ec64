"""The sensible INT8 models, tried: accuracy on validation, latency in turns, and which of them to keep.

Calibration is shared: what was seen of the activations gives the ranges of every method. First the target's
recipe with each method; then the best method with each variation of the recipe.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from kdtool.core.errors import ModelFileError
from kdtool.core.files import PARTIAL
from kdtool.core.screen import Screen
from kdtool.data.reader import Split
from kdtool.quant.accuracy import Accuracy
from kdtool.quant.maker import Choice, Maker, measure_accuracy
from kdtool.quant.ranges import METHODS
from kdtool.quant.speed import take_turns
from kdtool.quant.target import Int8Recipe
from kdtool.runtime.onnxruntime import open_model

IMAGES = 1000  # of validation, at most; what is kept is measured again on all of them
NOISE = 1.05  # latencies nearer than this are taken for equal


@dataclass(frozen=True)
class Trial:
    """One INT8 model that was tried.

    Attributes:
        drop: points of accuracy lost to the float model, on the images of the search.
        ms: median latency; None where the model is for another kind of processor.
    """

    choice: Choice
    accuracy: Accuracy
    drop: float
    ms: float | None
    size_bytes: int

    def to_json(self) -> dict[str, Any]:
        return {
            "recipe": str(self.choice.recipe),
            "calibration": self.choice.method,
            "accuracy": self.accuracy.points / 100,
            "drop": self.drop,
            "ms": self.ms,
            "size_bytes": self.size_bytes,
        }


@dataclass(frozen=True)
class Search:
    """What was tried and what is kept; `float_ms` is the float model's latency, None as in `Trial`."""

    trials: tuple[Trial, ...]
    kept: Trial
    images: int
    float_ms: float | None

    def table(self) -> list[str]:
        """Lines for a terminal: * marks what nothing else beats in both accuracy and latency."""
        best = pareto(self.trials)
        head = f"  {'accuracy':>9}  {'points':>7}  {'ms':>8}  {'× float':>7}  {'MB':>6}"
        lines = [f"{head}     model"]
        for trial in self.trials:
            ms, faster = "–", "–"
            if trial.ms is not None and self.float_ms is not None:
                ms, faster = f"{trial.ms:.2f}", f"{self.float_ms / trial.ms:.2f}"
            mark = ("*" if trial in best else " ") + (" → " if trial is self.kept else "   ")
            lines.append(
                f"  {trial.accuracy.points:>7.2f} %  {0.0 - trial.drop:>+7.2f}  {ms:>8}  {faster:>7}  "
                f"{trial.size_bytes / 1e6:>6.1f}  {mark}{trial.choice}"
            )
        return lines


def variations(recipe: Int8Recipe) -> list[Int8Recipe]:
    """The recipe with one thing changed: integer types, granularity, form."""
    kinds: list[dict[str, Any]] = [
        {"activation": "uint8", "weight": "int8"},
        {"activation": "uint8", "weight": "uint8", "reduce_range": False},
        {"activation": "int8", "weight": "int8"},
    ]
    own = (recipe.activation, recipe.weight)
    others = [kind for kind in kinds if (kind["activation"], kind["weight"]) != own]
    others += [{"per_channel": not recipe.per_channel}, {"form": "QOperator"}]
    return [replace(recipe, reason="found by search", **other) for other in others]


def search(
    maker: Maker, recipe: Int8Recipe, split: Split, max_drop: float, here: bool, screen: Screen
) -> Search:
    """Try the sensible models.

    Args:
        split: validation.
        max_drop: points of accuracy that may be lost.
        here: this machine is of the target's kind: latency is measured, and variations are tried.
    """
    before, _ = measure_accuracy(maker.source, split, IMAGES)
    with _scratch(maker.source.parent) as folder:
        paths: dict[Choice, Path] = {}
        trials: list[Trial] = []

        def attempt(choices: Sequence[Choice]) -> None:
            for choice in choices:
                path = folder / f"{len(paths)}.onnx"
                try:
                    maker.write(path, choice)
                    after, _ = measure_accuracy(path, split, IMAGES)
                except ModelFileError as error:
                    screen.warn(f"search: {choice}: left out ({error.message})")
                    continue
                paths[choice] = path
                drop = 100 * (before.correct - after.correct) / before.images
                trials.append(Trial(choice, after, drop, None, path.stat().st_size))

        attempt([Choice(recipe, method) for method in METHODS])
        if not trials:
            raise ModelFileError(
                f"{maker.source}: no INT8 model of it works.", "Ship the float32 model: kdtool bench"
            )
        if here:
            best = min(trials, key=lambda trial: trial.drop).choice.method
            attempt([Choice(other, best) for other in variations(recipe)])
            trials, float_ms = _timed(maker, trials, paths, screen)
        else:
            float_ms = None
    return Search(tuple(trials), keep(trials, max_drop), before.images, float_ms)


def keep(trials: Sequence[Trial], max_drop: float) -> Trial:
    """The fastest within `max_drop`, of those as fast the most accurate; if none is, the most accurate."""
    within = [trial for trial in trials if trial.drop <= max_drop]
    if not within:
        return min(trials, key=lambda trial: trial.drop)
    fastest = min(trial.ms or 0.0 for trial in within)
    return min((t for t in within if (t.ms or 0.0) <= NOISE * fastest), key=lambda trial: trial.drop)


def pareto(trials: Sequence[Trial]) -> list[Trial]:
    """Those that no other equals in accuracy and latency and beats in one of them."""

    def beaten(trial: Trial) -> bool:
        own = (trial.drop, trial.ms or 0.0)
        return any(
            (other.drop, other.ms or 0.0) != own and other.drop <= own[0] and (other.ms or 0.0) <= own[1]
            for other in trials
        )

    return [trial for trial in trials if not beaten(trial)]


def _timed(
    maker: Maker, trials: Sequence[Trial], paths: dict[Choice, Path], screen: Screen
) -> tuple[list[Trial], float]:
    """The trials with their latency, all measured in turns with the float model, and its own."""
    with contextlib.ExitStack() as stack:
        sessions = [open_model(maker.source), *(open_model(paths[trial.choice]) for trial in trials)]
        for session in sessions:
            stack.callback(session.close)
        medians = np.median(take_turns(sessions, maker.images.first(1), screen), axis=0)
    timed = [replace(trial, ms=float(ms)) for trial, ms in zip(trials, medians[1:], strict=True)]
    return timed, float(medians[0])


@contextlib.contextmanager
def _scratch(parent: Path) -> Iterator[Path]:
    """A folder that a killed process leaves to `remove_partial`."""
    with tempfile.TemporaryDirectory(prefix=".search-", suffix=PARTIAL, dir=parent) as folder:
        yield Path(folder)
