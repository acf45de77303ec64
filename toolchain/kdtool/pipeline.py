"""The stages in order, and the record of a run that ties them together.

    prepare → teach → distill (→ baseline) → export → quantize → bench → report

Each function below is one stage of one job; a stage that is complete with the same inputs says so
and returns. `run_all` is `kdtool run`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdtool.core.errors import GateError, UsageError
from kdtool.core.recipe import Recipe, flatten, load_recipe, override_recipe, parse_recipe
from kdtool.core.run import ARTIFACTS, RunFolder
from kdtool.core.screen import Screen
from kdtool.core.versions import versions_of
from kdtool.data.sources import resolve

if TYPE_CHECKING:
    from kdtool.bench.result import BenchResult
    from kdtool.data.reader import Prepared

DIGITS = "digits"
DEFAULT_RECIPE = "paper"
TRAINED_SECTIONS = {  # which networks a section of the recipe has a part in
    "photographs": ("teacher", "student", "baseline"),
    "seed": ("teacher", "student", "baseline"),
    "data": ("teacher", "student", "baseline"),
    "teacher": ("teacher",),
    "student": ("student", "baseline"),
}


@dataclass(frozen=True)
class Job:
    """A run and everything its stages are a function of.

    Attributes:
        source: where the photographs are (a folder, a manifest, the name of a data set).
    """

    run: RunFolder
    recipe: Recipe
    seed: int
    source: str
    screen: Screen


def start(
    source: str | None,
    out: Path | None,
    recipe_name: str | None,
    overrides: Iterable[str],
    seed: int | None,
    screen: Screen,
) -> Job:
    """A job on `source`, in a new run or in the one that already lies at `out`.

    Where `source`, `recipe_name` or `seed` is None, the one of the run at `out` is meant; where there
    is none either, the digits, the recipe that goes with the source, and 0.

    Raises:
        UsageError: the run at `out` was made from other photographs, or with settings that this job
            would change.
    """
    name = recipe_name or (DIGITS if source in (None, DIGITS) else DEFAULT_RECIPE)
    run = RunFolder(out or ARTIFACTS / load_recipe(name).name)
    record = run.read_record() if run.record.is_file() else None
    if record is None:
        return Job(run, load_recipe(name, overrides), seed or 0, resolve(source), screen)
    own = parse_recipe(record["recipe"], str(run.record))
    recipe = load_recipe(recipe_name, overrides) if recipe_name else override_recipe(own, overrides)
    source = record["source"] if source is None else source
    job = Job(run, recipe, int(record["seed"]) if seed is None else seed, resolve(source), screen)
    _require_same_training(job, record)
    return job


def resume(run: RunFolder, overrides: Iterable[str], screen: Screen, seed: int | None = None) -> Job:
    """The job of an existing run, its recipe and seed as recorded but for what is given.

    Raises:
        UsageError: not a run, or the overrides change what it was trained with.
    """
    record = run.read_record()
    recipe = override_recipe(parse_recipe(record["recipe"], str(run.record)), overrides)
    job = Job(run, recipe, int(record["seed"]) if seed is None else seed, str(record["source"]), screen)
    _require_same_training(job, record)
    return job


def prepare(job: Job) -> Prepared:
    """Scan the photographs, decode them once, and write run.json."""
    from kdtool.data.prepare import prepare as prepare_data

    prepared, skipped = prepare_data(job.source, job.recipe.data, job.seed, job.run.data, job.screen)
    counts = ", ".join(f"{count:,} {split}" for split, count in prepared.counts.items())
    state = "complete, skipped" if skipped else "prepared"
    job.screen.say(f"Data: {len(prepared.classes)} classes; {counts}; {state}.")
    _write_record(job, prepared)
    return prepared


def open_data(job: Job) -> Prepared:
    """The data of a run as prepared; the photographs themselves are not needed."""
    from kdtool.data.reader import open_prepared

    return open_prepared(job.run.data)


def teach(job: Job, prepared: Prepared) -> None:
    """The teacher: trained, or brought as a file."""
    from kdtool.train.stage import bring_teacher
    from kdtool.train.stage import teach as train_teacher

    settings = job.recipe.teacher
    if settings.trained:
        bring_teacher(job.run, prepared, Path(settings.trained), job.screen)
    else:
        train_teacher(job.run, prepared, settings, job.seed, job.screen)


def distill(job: Job, prepared: Prepared, baseline: bool) -> None:
    """The student, and with `baseline` the same student without the teacher."""
    from kdtool.train.stage import distill as train_student

    for role in ("student", "baseline") if baseline else ("student",):
        train_student(job.run, role, prepared, job.recipe.student, job.seed, job.screen)


def export(job: Job, prepared: Prepared) -> None:
    """Every trained network to simplified ONNX, parity proven."""
    from kdtool.export.stage import export_models

    export_models(job.run, prepared, job.recipe.export, job.screen)


def quantize(job: Job, prepared: Prepared) -> None:
    """Teacher and student to INT8, accuracy guarded."""
    from kdtool.quant.stage import quantize_models

    quantize_models(job.run, prepared, job.recipe.quantize, job.screen)


def bench(job: Job, prepared: Prepared, always: bool = False) -> BenchResult:
    """Accuracy on the test split, compute, latency, and the verdict; `always` measures again."""
    from kdtool.bench.stage import bench_run

    return bench_run(job.run, prepared, job.recipe.bench, job.screen, always=always)


def report(job: Job) -> Path:
    """The report page."""
    from kdtool.report.stage import write_report

    return write_report(job.run, job.screen)


def run_all(job: Job, baseline: bool) -> tuple[BenchResult, Path, GateError | None]:
    """Every stage. An INT8 model that fails its gate does not cost the rest of the run.

    Returns:
        The bench, the report's path, and the gate that quantization failed, if it did.
    """
    prepared = prepare(job)
    teach(job, prepared)
    distill(job, prepared, baseline)
    export(job, prepared)
    failed: GateError | None = None
    try:
        quantize(job, prepared)
    except GateError as error:
        failed = error
        job.screen.warn(f"{error.message} The run goes on without the INT8 models.")
    result = bench(job, prepared)
    return result, report(job), failed


def _write_record(job: Job, prepared: Prepared) -> None:
    record = {
        "recipe": job.recipe.to_json(),
        "seed": job.seed,
        "source": job.source,
        "classes": list(prepared.classes),
        "data": prepared.digest,
        "versions": versions_of(),
    }
    if not job.run.record.is_file() or job.run.read_record() != {"schema": 1, **record}:
        job.run.write_record(record)


def _require_same_training(job: Job, record: Mapping[str, Any]) -> None:
    """A trained network may be trained for longer; anything else wants a folder of its own."""
    old = flatten(record["recipe"]) | {"seed": record["seed"], "photographs": record["source"]}
    new = flatten(job.recipe.to_json()) | {"seed": job.seed, "photographs": job.source}
    changed = [
        f"  {key}: {old.get(key)!r} in the run, {new.get(key)!r} asked for"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key) and _is_frozen(job.run, key, old.get(key), new.get(key))
    ]
    if changed:
        raise UsageError(
            "\n".join([f"{job.run.path} was trained otherwise.", *changed]),
            "Choose another folder with --out DIR, or keep the run's own settings (more epochs are allowed).",
        )


def _is_frozen(run: RunFolder, key: str, old: Any, new: Any) -> bool:
    section, _, field = key.partition(".")
    roles = TRAINED_SECTIONS.get(section, ())
    longer = field == "epochs" and isinstance(old, int) and isinstance(new, int) and new > old
    return not longer and any(run.role(role).is_dir() for role in roles)
