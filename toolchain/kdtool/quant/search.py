"""The sensible INT8 models, tried: accuracy on validation, latency in turns, and which of them to keep.

Calibration is shared: what was seen of the activations gives the ranges of every method. First the target's
scheme with each method; then the best method with each variation of the scheme. Methods differ in scales
alone, which no kernel's time depends on, so latency is measured once a scheme.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kdtool.calibration.ranges import METHODS
from kdtool.core.errors import ModelFileError
from kdtool.core.files import PARTIAL
from kdtool.core.screen import Screen
from kdtool.data.reader import Split
from kdtool.quant.accuracy import Accuracy
from kdtool.quant.maker import Choice, Maker, measure_accuracy
from kdtool.quant.speed import take_turns
from kdtool.quant.target import Int8Scheme, QuantFormat
from kdtool.results.statistics import quantile, ratio_of_medians, speedup
from kdtool.runtime.onnxruntime import open_model

IMAGES = 1000  # of validation, at most; what is kept is measured again on all of them
EQUAL = 1.05  # sessions of one model differ by nearly as much (benchmarks/turns.py)


@dataclass(frozen=True)
class Trial:
    """One INT8 model that was tried.

    Attributes:
        drop: points of accuracy lost to the float model, on the images of the search.
        samples: milliseconds of each round, the rounds being those of all trials; none where the model is
            for another kind of processor.
    """

    choice: Choice
    accuracy: Accuracy
    drop: float
    size_bytes: int
    samples: tuple[float, ...] = ()

    @property
    def ms(self) -> float | None:
        """Median latency."""
        return quantile(self.samples, 0.5) if self.samples else None

    def slower_than(self, other: Trial) -> bool:
        """By more than models are that are the same, with 95 % confidence."""
        if not self.samples:
            return False
        return ratio_of_medians(self.samples, other.samples).interval[0] > EQUAL

    def to_json(self) -> dict[str, Any]:
        return {
            "recipe": str(self.choice.scheme),
            "calibration": self.choice.calibration,
            "accuracy": self.accuracy.points / 100,
            "drop": self.drop,
            "ms": self.ms,
            "size_bytes": self.size_bytes,
        }


@dataclass(frozen=True)
class Search:
    """What was tried and what is kept; `float_samples` are the float model's latencies, as in `Trial`."""

    trials: tuple[Trial, ...]
    kept: Trial
    images: int
    float_samples: tuple[float, ...] = ()

    def table(self) -> list[str]:
        """Lines for a terminal: * marks what nothing else beats in both accuracy and latency."""
        best = pareto(self.trials)
        head = f"  {'accuracy':>9}  {'points':>7}  {'ms':>7}  {'× float (95 %)':>18}  {'MB':>5}"
        lines = [f"{head}     model"]
        for trial in self.trials:
            ms, faster = "–", "–"
            if trial.ms is not None:
                ratio = speedup(trial.samples, self.float_samples)
                low, high = ratio.interval
                ms, faster = f"{trial.ms:.2f}", f"{ratio.value:.2f} ({low:.2f}–{high:.2f})"
            mark = ("*" if trial in best else " ") + (" → " if trial is self.kept else "   ")
            lines.append(
                f"  {trial.accuracy.points:>7.2f} %  {0.0 - trial.drop:>+7.2f}  {ms:>7}  {faster:>18}  "
                f"{trial.size_bytes / 1e6:>5.1f}  {mark}{trial.choice}"
            )
        return lines


def variations(scheme: Int8Scheme) -> list[Int8Scheme]:
    """The scheme with one thing changed: integer types, granularity, format."""
    types: list[dict[str, Any]] = [
        {"activation": "uint8", "weight": "int8"},
        {"activation": "uint8", "weight": "uint8", "reduce_range": False},
        {"activation": "int8", "weight": "int8"},
    ]
    usual = (scheme.activation, scheme.weight)
    changes = [change for change in types if (change["activation"], change["weight"]) != usual]
    changes += [{"per_channel": not scheme.per_channel}, {"quant_format": QuantFormat.QOPERATOR}]
    return [replace(scheme, reason="found by search", **change) for change in changes]


def search(
    maker: Maker, scheme: Int8Scheme, split: Split, max_drop: float, on_target: bool, screen: Screen
) -> Search:
    """Try the sensible models.

    Args:
        split: validation.
        max_drop: points of accuracy that may be lost.
        on_target: this machine is of the target's kind: latency is measured, and variations are tried.
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
                trials.append(Trial(choice, after, drop, path.stat().st_size))

        attempt([Choice(scheme, method) for method in METHODS])
        if not trials:
            raise ModelFileError(
                f"{maker.source}: no INT8 model of it works.", "Ship the float32 model: kdtool bench"
            )
        if on_target:
            best = min(trials, key=lambda trial: trial.drop).choice.calibration
            attempt([Choice(variation, best) for variation in variations(scheme)])
            trials, float_samples = _timed(maker, trials, paths, screen)
        else:
            float_samples = ()
    return Search(tuple(trials), keep(trials, max_drop), before.images, float_samples)


def keep(trials: Sequence[Trial], max_drop: float) -> Trial:
    """The fastest within `max_drop`, of those as fast the most accurate; if none is, the most accurate."""
    within = [trial for trial in trials if trial.drop <= max_drop]
    if not within:
        return min(trials, key=lambda trial: trial.drop)
    fastest = min(within, key=lambda trial: trial.ms or 0.0)
    return min((t for t in within if not t.slower_than(fastest)), key=lambda trial: trial.drop)


def pareto(trials: Sequence[Trial]) -> list[Trial]:
    """Those that no other is as accurate as and faster, or as fast as and more accurate."""

    def beaten(trial: Trial) -> bool:
        return any(
            (other.drop <= trial.drop and trial.slower_than(other))
            or (other.drop < trial.drop and not other.slower_than(trial))
            for other in trials
        )

    return [trial for trial in trials if not beaten(trial)]


def _timed(
    maker: Maker, trials: Sequence[Trial], paths: dict[Choice, Path], screen: Screen
) -> tuple[list[Trial], tuple[float, ...]]:
    """The trials with the latency of their schemes, measured in turns with the float model, and its own."""
    of_scheme = {trial.choice.scheme: paths[trial.choice] for trial in trials}
    with contextlib.ExitStack() as stack:
        sessions = [open_model(path) for path in (maker.source, *of_scheme.values())]
        for session in sessions:
            stack.callback(session.close)
        own, *others = map(tuple, take_turns(sessions, maker.images.first(1), screen).T.tolist())
    samples = dict(zip(of_scheme, others, strict=True))
    return [replace(trial, samples=samples[trial.choice.scheme]) for trial in trials], own


@contextlib.contextmanager
def _scratch(parent: Path) -> Iterator[Path]:
    """A folder that a killed process leaves to `remove_partial`."""
    with tempfile.TemporaryDirectory(prefix=".search-", suffix=PARTIAL, dir=parent) as folder:
        yield Path(folder)
