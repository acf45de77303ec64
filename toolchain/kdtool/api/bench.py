"""Measuring ONNX files from anywhere."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kdtool.api.stated import checked, given
from kdtool.benchmark.loose import bench_files
from kdtool.core.errors import ModelFileError, UsageError
from kdtool.core.modelinfo import ModelInfo
from kdtool.core.preprocess import Preprocess
from kdtool.core.screen import Screen
from kdtool.data.sources import load_listing
from kdtool.machine.terminal import screen_of
from kdtool.recipe.settings import BenchSettings
from kdtool.results.bench import BenchResult

QUICK: dict[str, Any] = {"single_thread": False, "seconds": 0.0, "batch": 0, "cold_starts": 0}


def bench(
    files: str | Path | Sequence[str | Path],
    data: str | Path | None = None,
    *,
    classes: Sequence[str] | None = None,
    preprocess: Preprocess | None = None,
    quick: bool = False,
    claim: str = "",
    judged: str = "student",
    reference: str = "teacher",
    threads: int | None = None,
    runs: int | None = None,
    seconds: float | None = None,
    runtimes: Sequence[str] = ("onnxruntime",),
    quiet: bool = False,
) -> BenchResult:
    """Measure ONNX files: accuracy, compute, size and latency, all in turns, and judge the claim.

    Args:
        files: image classifiers; their roles decide on their names, such as student and student-int8.
        data: photographs with labels to measure the accuracy on: a folder of class folders, a manifest or the
            name of a data set; its test split where it has one. None measures no accuracy.
        classes, preprocess: of the files that do not state them.
        quick: latency alone: no cold start, memory, throughput, minimum duration, second number of threads.
        claim: bounds such as "size<=0.3,drop<=1"; empty is retention>=0.94 at macs<=0.5.
        judged, reference: names of the model that the claim is about and of the one it is held against.
        threads: of the runtime; 0 is every processor that this process may use. None is 0, and one as well.
        runs: latency samples for each model, at least; None is 100.
        seconds: each series of samples takes at least this long; None is 2.
        runtimes: what runs the models: onnxruntime, openvino.
        quiet: say nothing on standard error.

    Raises:
        UsageError: an argument is wrong, or accuracy is asked of a file whose classes are not known.
        DataError: photographs that cannot be read, or of a class that a model does not know.
        ModelFileError: a file is broken or not an image classifier.

    Example:
        result = kdtool.bench(["teacher.onnx", "student.onnx"], "photographs/")
        result.claim.verdict
    """
    paths = [Path(files)] if isinstance(files, str | Path) else [Path(file) for file in files]
    folder = next((path for path in paths if path.is_dir()), None)
    if not paths or folder is not None:
        raise UsageError(
            f"files: {folder or 'none'}; allowed: one ONNX file or more.",
            "What a run has measured: kdtool.open_run(FOLDER).bench",
        )
    named = {"threads": threads, "runs": runs, "seconds": seconds}
    changes: dict[str, Any] = {key: value for key, value in named.items() if value is not None}
    if threads is not None:
        changes["single_thread"] = False
    if quick and seconds is not None:
        raise UsageError("quick has no minimum duration, so seconds would be ignored.", "Leave one out.")
    changes |= QUICK if quick else {}
    settings = checked(
        BenchSettings, claim=claim, judged=judged, reference=reference, runtimes=tuple(runtimes), **changes
    )
    like = given("", classes, preprocess)
    return bench_any(paths, None if data is None else str(data), settings, screen_of(quiet), like)


def bench_any(
    paths: Sequence[Path], data: str | None, settings: BenchSettings, screen: Screen, like: ModelInfo | None
) -> BenchResult:
    """`bench` of settings, as `kdtool bench` calls it.

    Args:
        like: classes and preprocessing of the files that state none.
    """
    listing = load_listing(data) if data is not None else None
    return bench_files(paths, listing, settings, screen, functools.partial(_count, screen), like)


def _count(screen: Screen, path: Path) -> tuple[int, int] | None:
    """(params, MACs) from the graph, where the training extra is installed; else nothing.

    Of a graph with operators that are not counted there is no figure that a claim could be judged on.
    """
    try:
        from kdtool.exporters.compute.count import count_onnx
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("kdtool"):
            raise
        return None
    try:
        count = count_onnx(path)
    except ModelFileError:  # a shape that depends on more than the batch has no one number
        return None
    if count.uncounted:
        screen.warn(f"{path}: its compute is unknown; not counted are {', '.join(count.uncounted)}")
        return None
    return count.params, count.macs
