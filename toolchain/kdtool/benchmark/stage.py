"""The bench stage: write bench.json and predictions.csv of a run.

This stage alone evaluates the models of a run on the test split; the report only shows images of that split.
"""

from __future__ import annotations

from collections.abc import Mapping

from kdtool.benchmark.candidates import Candidate, TestImages, name_in, open_all
from kdtool.benchmark.measure import measure_all
from kdtool.core.errors import ModelFileError, UsageError
from kdtool.core.files import sha256_file, write_json, write_text
from kdtool.core.screen import Screen
from kdtool.data.reader import SAMPLES_FILE, Prepared, Split
from kdtool.machine.cpu import processor_name
from kdtool.machine.packages import required, versions_of
from kdtool.machine.threads import usable_threads
from kdtool.recipe.settings import BenchSettings
from kdtool.results.bench import SCHEMA, BenchResult, read_bench
from kdtool.results.predictions import Predictions
from kdtool.runs.folder import RunFolder
from kdtool.runs.lineage import require_current
from kdtool.runs.models import present_models, sealed_models
from kdtool.runs.soundness import require_sound
from kdtool.runs.stage import Stage
from kdtool.runtime.classify import Classified
from kdtool.runtime.session import Session

# Name → role, precision, in the order of the table.
MODELS = {
    "teacher": ("teacher", "fp32"),
    "student": ("student", "fp32"),
    "baseline": ("baseline", "fp32"),
    "probe": ("probe", "fp32"),
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
    write: bool = True,
) -> BenchResult:
    """Measure the models of a run on its test split and this machine, and (if `write`) write the result.

    Args:
        prepared: the data of the run; None if it is not there, as on a device. Then latency alone is
            measured, and written only if this does not replace a measured accuracy.
        always: measure even if nothing changed since the last measurement.
        write: False does not change the run, for a run on a read-only medium.

    Raises:
        UsageError: the run has no ONNX models, or a model is outdated.
        ModelFileError: a model is broken or does not belong to the data.
        GateError: the logits of a model contain NaN.
    """
    require_current(run, "bench")
    require_sound(run)
    sealed = sealed_models(run)
    for path in (run.onnx_model(*model) for model in present_models(run) if model not in sealed):
        screen.warn(
            f"{path} differs from its manifest or has no manifest; it is left out. See: kdtool doctor"
        )
    names = [name for name, which in MODELS.items() if which in sealed]
    if not names:
        raise UsageError(
            f"{run.path} has no exported models.", f"Export them with: kdtool export --onnx {run.path}"
        )
    stage = Stage("bench", run.path, _inputs(run, names, prepared, settings), "bench.manifest.json")
    if not always and stage.complete():
        earlier = read_bench(run.bench)
        if not earlier.void:
            screen.say("bench: complete, skipped")
            return earlier
    split = prepared.split("test") if prepared is not None else None
    paths = [run.onnx_model(*MODELS[name]) for name in names]
    with open_all(paths, settings) as opened:
        candidates = [
            Candidate(
                name_in(runtime, name, settings),
                *MODELS[name],
                runtime,
                session,
                _test_images(session, prepared, split),
            )
            for runtime, sessions in opened.items()
            for name, session in zip(names, sessions, strict=True)
        ]
        result, classified = measure_all(candidates, settings, screen, bounds=settings.bounds)
    if not write:
        return result
    if prepared is None and _accuracy_was_measured(run):
        screen.warn(f"{run.bench} has measured accuracies, so these latencies are not written to it.")
        return result
    stage.reopen()
    write_json(run.bench, result.to_json())
    files = [run.bench.name]
    if prepared is not None and split is not None:
        write_text(run.predictions, _predictions(split, prepared.classes, classified).to_csv())
        files.append(run.predictions.name)
    stage.seal(files, {"verdict": result.claim.verdict}, versions_of(required()))
    return result


def _inputs(
    run: RunFolder, names: list[str], prepared: Prepared | None, settings: BenchSettings
) -> dict[str, object]:
    return {
        "schema": SCHEMA,
        "settings": settings.model_dump(mode="json"),
        "models": {name: sha256_file(run.onnx_model(*MODELS[name])) for name in names},
        "data": prepared.digest if prepared is not None else None,
        "samples": sha256_file(prepared.folder / SAMPLES_FILE) if prepared is not None else None,
        "versions": versions_of(settings.runtimes),
        "processor": processor_name(),
        "usable": usable_threads(),
    }


def _test_images(session: Session, prepared: Prepared | None, split: Split | None) -> TestImages | None:
    """Pair the test images with the model's preprocessing; an imported teacher has other mean and std."""
    if prepared is None or split is None:
        return None
    info = session.info
    data = prepared.like(info.preprocess) if info is not None else None
    if info is None or data is None or info.classes != prepared.classes:
        raise ModelFileError(
            f"{session.path}: the classes or the preprocessing of the model are not those of the run's data.",
            "Export it again with: kdtool export --onnx",
        )
    if not len(split.labels):
        return None
    return TestImages(data.split("test").images, split.labels, info.preprocess, len(info.classes))


def _accuracy_was_measured(run: RunFolder) -> bool:
    try:
        return any(model.accuracy is not None for model in read_bench(run.bench).models)
    except UsageError:
        return False


def _predictions(split: Split, classes: tuple[str, ...], classified: Mapping[str, Classified]) -> Predictions:
    return Predictions(
        split.paths,
        tuple(classes[label] for label in split.labels),
        {name: model.named(classes) for name, model in classified.items()},
    )
