"""Measure ONNX files from anywhere."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kdtool.api.arguments import caller_info, checked_settings
from kdtool.benchmark.loose import bench_files
from kdtool.core.errors import ModelFileError, UsageError
from kdtool.core.modelinfo import ModelInfo
from kdtool.core.preprocess import Preprocess
from kdtool.core.screen import Screen
from kdtool.core.spelling import Caller, called_from
from kdtool.data.sources import load_listing
from kdtool.machine.terminal import screen_of
from kdtool.recipe.settings import BenchSettings
from kdtool.results.bench import BenchResult
from kdtool.results.claim import Bound

QUICK: dict[str, Any] = {"single_thread": False, "seconds": 0.0, "batch": 0, "cold_starts": 0}


@called_from(Caller.FUNCTION)
def bench(
    files: str | Path | Sequence[str | Path],
    data: str | Path | None = None,
    *,
    classes: Sequence[str] | None = None,
    preprocess: Preprocess | None = None,
    quick: bool = False,
    skip_bad: bool = False,
    claim: str = "",
    judged: str = "student",
    reference: str = "teacher",
    threads: int | None = None,
    sessions: int | None = None,
    runs: int | None = None,
    seconds: float | None = None,
    runtimes: str | Sequence[str] = ("onnxruntime",),
    quiet: bool = False,
) -> BenchResult:
    """Measure accuracy, compute, size and latency of ONNX files, compare them, and judge a claim.

    The models take turns, so that a change of the machine affects all of them.

    Args:
        files: image classifiers; the role in a file makes the name of the model, such as student-int8.
        data: photographs with labels to measure the accuracy on: a folder of class folders, a manifest or the
            name of a data set. The test split is used, or everything without splits. None measures no
            accuracy.
        classes, preprocess: names in the order of the logits and preprocessing, for files that do not state
            them.
        quick: measure latency without cold start, memory, throughput, minimum duration and second number of
            threads.
        skip_bad: leave unreadable photographs out, with a note, instead of stopping.
        claim: bounds such as "size<=0.3,drop<=1"; empty compares the files and gives no verdict.
        judged, reference: name of the model that the claim is about, and of the model to compare with. Of two
            files without these roles, the second and the first.
        threads: threads of the runtime; 0 is every processor that this process may use; None measures with 0
            and with one thread.
        sessions: processes that measure the models, each anew; a claim on times needs 2 or more; None is 5.
        runs: least number of latency samples for each model; None is 75.
        seconds: least duration of each series of samples; None is 1.
        runtimes: runtimes that run the models: onnxruntime, openvino.
        quiet: print nothing on standard error.

    Raises:
        UsageError: an argument is wrong, or accuracy is wanted but the classes of a file are not known.
        DataError: a photograph cannot be read, or a model does not know its class.
        ModelFileError: a file is broken or not an image classifier.

    Example:
        result = kdtool.bench(["teacher.onnx", "student.onnx"], "photographs/", claim="macs<=0.5")
        result.claim.verdict
    """
    paths = [Path(files)] if isinstance(files, str | Path) else [Path(file) for file in files]
    folder = next((path for path in paths if path.is_dir()), None)
    if not paths or folder is not None:
        raise UsageError(
            f"files: {folder or 'none'}; allowed: one ONNX file or more.",
            "The measurements of a run are in: kdtool.open_run(FOLDER).bench",
        )
    optional = {"threads": threads, "sessions": sessions, "runs": runs, "seconds": seconds}
    changes: dict[str, Any] = {key: value for key, value in optional.items() if value is not None}
    if threads is not None:
        changes["single_thread"] = False
    if skip_bad and data is None:
        raise UsageError("skip_bad has no effect without data.", "Give data, or leave skip_bad out.")
    if quick and seconds is not None:
        raise UsageError(
            "quick has no minimum duration, so seconds would be ignored.", "Leave out quick or seconds."
        )
    changes |= QUICK if quick else {}
    names = (runtimes,) if isinstance(runtimes, str) else tuple(runtimes)
    settings = checked_settings(
        BenchSettings, claim=claim, judged=judged, reference=reference, runtimes=names, **changes
    )
    like = caller_info("", classes, preprocess)
    bounds = settings.bounds if claim else ()
    source = None if data is None else str(data)
    return bench_any(paths, source, settings, screen_of(quiet), like, bounds, skip_bad=skip_bad)


def bench_any(
    paths: Sequence[Path],
    data: str | None,
    settings: BenchSettings,
    screen: Screen,
    like: ModelInfo | None,
    bounds: Sequence[Bound],
    *,
    skip_bad: bool,
) -> BenchResult:
    """Measure ONNX files with checked settings, as `kdtool bench` and `bench` do.

    Args:
        like: classes and preprocessing for files that state none.
        bounds: the claim; without bounds there is no verdict.
        skip_bad: leave unreadable photographs out.
    """
    listing = load_listing(data) if data is not None else None
    return bench_files(
        paths, listing, settings, screen, functools.partial(_count, screen), like, bounds, skip_bad=skip_bad
    )


def _count(screen: Screen, path: Path) -> tuple[int, int] | None:
    """Count (params, MACs) of the graph; None, with the reason on the screen, if they are not known.

    A sum without some operators is not known: no claim can be judged on it.
    """
    try:
        from kdtool.exporters.compute.count import count_onnx
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("kdtool"):
            raise
        screen.warn(f"{path}: the compute is unknown, since it is not stated. To count it: pip install onnx")
        return None
    try:
        count = count_onnx(path)
    except ModelFileError as error:  # no one number if a shape depends on more than the batch
        screen.warn(f"The compute is unknown: {error.message}")
        return None
    if count.uncounted:
        screen.warn(
            f"{path}: the compute is unknown, since kdtool does not count {', '.join(count.uncounted)}"
        )
        return None
    if count.macs < 1:
        screen.warn(f"{path}: the compute is unknown, since no layer multiplies.")
        return None
    return count.params, count.macs
