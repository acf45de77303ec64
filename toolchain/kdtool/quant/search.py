"""Search among INT8 models: measure validation accuracy and latency of each, and choose the one to keep.

All models share the histograms of the activations, which give the ranges of every calibration method. First
the target's scheme is tried with each method, then the best method with each variation of the scheme. Methods
differ only in scales, and the time of a kernel does not depend on them, so latency is measured once for each
scheme.
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
from kdtool.results.statistics.times import quantile, ratio_of_medians, speedup
from kdtool.runtime.onnxruntime import open_model

IMAGES = 1000  # validation images at most; the model that is kept is measured again on all of them
EQUAL = 1.05  # ratio of latencies; two sessions of one model differ by nearly as much (benchmarks/turns.py)


@dataclass(frozen=True)
class Trial:
    """One INT8 model that was tried.

    Attributes:
        drop: loss of accuracy against the FP32 model on the images of the search, percentage points.
        samples: milliseconds of each round, in which all models take turns; empty if the model is for another
            kind of processor.
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
        """True if this model is slower, with 95 % confidence, by more than equal models differ."""
        if not self.samples:
            return False
        return ratio_of_medians(self.samples, other.samples).interval[0] > EQUAL

    def to_json(self) -> dict[str, Any]:
        return {
            "recipe": str(self.choice.scheme),
            "calibration": self.choice.calibration,
            "accuracy": self.accuracy.percent / 100,
            "drop": self.drop,
            "ms": self.ms,
            "size_bytes": self.size_bytes,
        }


@dataclass(frozen=True)
class Search:
    """Result of a search.

    Attributes:
        kept: the trial whose model is kept.
        images: number of validation images.
        fp32_samples: latencies of the FP32 model, as `Trial.samples`.
    """

    trials: tuple[Trial, ...]
    kept: Trial
    images: int
    fp32_samples: tuple[float, ...] = ()

    def table(self) -> list[str]:
        """Return lines for a terminal; * marks the Pareto front of accuracy and latency."""
        best = pareto(self.trials)
        head = f"  {'accuracy':>9}  {'pp':>7}  {'ms':>7}  {'× FP32 (95 %)':>18}  {'MB':>5}"
        lines = [f"{head}     model"]
        for trial in self.trials:
            ms, faster = "–", "–"
            if trial.ms is not None:
                ratio = speedup(trial.samples, self.fp32_samples)
                low, high = ratio.interval
                ms, faster = f"{trial.ms:.2f}", f"{ratio.value:.2f} ({low:.2f}–{high:.2f})"
            mark = ("*" if trial in best else " ") + (" → " if trial is self.kept else "   ")
            lines.append(
                f"  {trial.accuracy.percent:>7.2f} %  {0.0 - trial.drop:>+7.2f}  {ms:>7}  {faster:>18}  "
                f"{trial.size_bytes / 1e6:>5.1f}  {mark}{trial.choice}"
            )
        return lines


def variations(scheme: Int8Scheme) -> list[Int8Scheme]:
    """Return the scheme with one change each: integer types, granularity, format."""
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
    """Try INT8 models and choose the one to keep.

    Args:
        split: validation.
        max_drop: largest loss of accuracy, percentage points.
        on_target: True if this machine is of the target's kind; otherwise latency is not measured and
            variations are not tried.
    """
    before, _ = measure_accuracy(maker.source, split, IMAGES)
    with _scratch(maker.source.parent) as folder:
        paths: dict[Choice, Path] = {}
        trials: list[Trial] = []

        def try_each(choices: Sequence[Choice]) -> None:
            for choice in choices:
                path = folder / f"{len(paths)}.onnx"
                try:
                    maker.write(path, choice)
                    after, _ = measure_accuracy(path, split, IMAGES)
                except ModelFileError as error:
                    screen.warn(f"search: {choice}: left out ({error.message})")
                    continue
                paths[choice] = path
                trials.append(Trial(choice, after, before.drop_to(after), path.stat().st_size))

        try_each([Choice(scheme, method) for method in METHODS])
        if not trials:
            raise ModelFileError(
                f"{maker.source}: none of its INT8 models works.",
                "Ship the float32 model; kdtool bench measures it.",
            )
        if on_target:
            best = min(trials, key=lambda trial: trial.drop).choice.calibration
            try_each([Choice(variation, best) for variation in variations(scheme)])
            trials, fp32_samples = _timed(maker, trials, paths, screen)
        else:
            fp32_samples = ()
    return Search(tuple(trials), keep(trials, max_drop), before.images, fp32_samples)


def keep(trials: Sequence[Trial], max_drop: float) -> Trial:
    """Return the most accurate of the fastest trials within `max_drop`; if none is within, of all trials."""
    within = [trial for trial in trials if trial.drop <= max_drop]
    if not within:
        return min(trials, key=lambda trial: trial.drop)
    fastest = min(within, key=lambda trial: trial.ms or 0.0)
    return min((t for t in within if not t.slower_than(fastest)), key=lambda trial: trial.drop)


def pareto(trials: Sequence[Trial]) -> list[Trial]:
    """Return the Pareto front: no other trial is as accurate and faster, or as fast and more accurate."""

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
    """Return the trials with the latency of their schemes, and the latency of the FP32 model."""
    of_scheme = {trial.choice.scheme: paths[trial.choice] for trial in trials}
    with contextlib.ExitStack() as stack:
        sessions = [open_model(path) for path in (maker.source, *of_scheme.values())]
        for session in sessions:
            stack.callback(session.close)
        fp32_samples, *scheme_samples = map(
            tuple, take_turns(sessions, maker.images.evenly(1), screen).T.tolist()
        )
    samples = dict(zip(of_scheme, scheme_samples, strict=True))
    return [replace(trial, samples=samples[trial.choice.scheme]) for trial in trials], fp32_samples


@contextlib.contextmanager
def _scratch(parent: Path) -> Iterator[Path]:
    """Create a folder that `remove_partial` removes if a killed process leaves it."""
    with tempfile.TemporaryDirectory(prefix=".search-", suffix=PARTIAL, dir=parent) as folder:
        yield Path(folder)
