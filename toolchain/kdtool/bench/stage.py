"""The bench stage: bench.json and predictions.csv of a run. The one place that opens the test split."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from kdtool.bench.accuracy import Answers
from kdtool.bench.result import SCHEMA, BenchResult
from kdtool.bench.subjects import Pictures, Subject, measure_all
from kdtool.core.cpu import processor_name
from kdtool.core.errors import ModelFileError, UsageError
from kdtool.core.files import sha256_file, write_json, write_text
from kdtool.core.manifest import Stage
from kdtool.core.recipe import BenchSettings
from kdtool.core.run import RunFolder
from kdtool.core.screen import Screen
from kdtool.core.threads import usable_threads
from kdtool.core.versions import DEVICE, versions_of
from kdtool.runtime import load_runtime
from kdtool.runtime.session import Session

if TYPE_CHECKING:
    from kdtool.data.reader import Prepared, Split

# name → role, precision; the order of the table
MODELS = {
    "teacher": ("teacher", "fp32"),
    "student": ("student", "fp32"),
    "baseline": ("baseline", "fp32"),
    "teacher-int8": ("teacher", "int8"),
    "student-int8": ("student", "int8"),
}


def bench_run(
    run: RunFolder,
    prepared: Prepared | None,
    settings: BenchSettings,
    screen: Screen,
    *,
    always: bool = False,
) -> BenchResult:
    """Measure the models of a run on its test split and this machine, and write the result.

    Args:
        prepared: None where the images are not there, as on a device: latency alone is measured, and
            written only where it replaces no measured accuracy.
        always: measure even if nothing changed since the last time.

    Raises:
        UsageError: the run has no ONNX models.
        ModelFileError: a model is broken or does not belong to the data.
        GateError: a model answers NaN.
    """
    names = [name for name, which in MODELS.items() if run.onnx_model(*which).is_file()]
    if not names:
        raise UsageError(
            f"{run.path} has no exported models.", f"Export them with: kdtool export --onnx {run.path}"
        )
    stage = Stage("bench", run.path, _inputs(run, names, prepared, settings), "bench.manifest.json")
    if not always and stage.complete():
        screen.say("bench: complete, skipped")
        return read_result(run)
    split = prepared.split("test") if prepared is not None else None
    with _sessions(run, names, settings.threads) as sessions:
        subjects = [
            Subject(name, *MODELS[name], session, _pictures(session, prepared, split))
            for name, session in sessions.items()
        ]
        result, answers = measure_all(subjects, settings, screen)
    if prepared is None and _accuracy_was_measured(run):
        screen.warn(f"{run.bench} keeps the accuracies it has; these latencies are not written to it.")
        return result
    stage.reopen()
    write_json(run.bench, result.to_json())
    files = [run.bench.name]
    if prepared is not None and split is not None:
        write_text(run.predictions, _predictions(split, prepared.classes, answers))
        files.append(run.predictions.name)
    stage.seal(files, {"verdict": result.claim.verdict}, versions_of(DEVICE))
    return result


def read_result(run: RunFolder) -> BenchResult:
    """The bench.json of a run.

    Raises:
        UsageError: there is none, or it is not one of this version.
    """
    try:
        return BenchResult.from_json(json.loads(run.bench.read_text("utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{run.bench} is not a result of bench ({type(error).__name__}: {error}).",
            f"Measure again with: kdtool bench {run.path}",
        ) from error


@contextlib.contextmanager
def _sessions(run: RunFolder, names: list[str], threads: int) -> Iterator[dict[str, Session]]:
    """All models at once, since latency takes them in turns."""
    runtime = load_runtime()
    with contextlib.ExitStack() as stack:
        sessions = {}
        for name in names:
            sessions[name] = runtime.open_model(run.onnx_model(*MODELS[name]), threads)
            stack.callback(sessions[name].close)
        yield sessions


def _inputs(
    run: RunFolder, names: list[str], prepared: Prepared | None, settings: BenchSettings
) -> dict[str, object]:
    return {
        "schema": SCHEMA,
        "settings": settings.model_dump(mode="json"),
        "models": {name: sha256_file(run.onnx_model(*MODELS[name])) for name in names},
        "data": prepared.digest if prepared is not None else None,
        "processor": processor_name(),
        "usable": usable_threads(),
    }


def _pictures(session: Session, prepared: Prepared | None, split: Split | None) -> Pictures | None:
    """The test images as this model wants them scaled: a teacher from elsewhere has its own mean and std."""
    if prepared is None or split is None:
        return None
    info, data = session.info, prepared.preprocess
    if info is None or (info.classes, info.preprocess.geometry) != (prepared.classes, data.geometry):
        raise ModelFileError(
            f"{session.path}: its classes or its preprocessing are not those of the run's data.",
            "Export it again with: kdtool export --onnx",
        )
    return Pictures(split.images, split.labels, info.preprocess, len(info.classes))


def _accuracy_was_measured(run: RunFolder) -> bool:
    try:
        return any(model.accuracy is not None for model in read_result(run).models)
    except UsageError:
        return False


def _predictions(split: Split, classes: tuple[str, ...], answers: Mapping[str, Answers]) -> str:
    """path,label, then each model's predicted class and its probability."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(
        ["path", "label", *(column for name in answers for column in (name, f"{name}_probability"))]
    )
    for row, (path, label) in enumerate(zip(split.paths, split.labels, strict=True)):
        cells = (
            cell
            for given in answers.values()
            for cell in (classes[given.predicted[row]], f"{given.probability[row]:.6f}")
        )
        writer.writerow([path, classes[label], *cells])
    return stream.getvalue()
