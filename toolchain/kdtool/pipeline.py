"""The stages in order.

    prepare → teach → distill (→ baseline) → export → quantize → bench → report

Each function below is one stage of one job; a stage that is complete with the same inputs says so
and returns. `run_all` is `kdtool run`. Several processes (`kdtool.train.together.processes`) train together;
the other stages are the first one's alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kdtool.core.errors import GateError, UsageError
from kdtool.core.screen import QUIET, Screen
from kdtool.data.sources import default_recipe, resolve
from kdtool.recipe.files import load_recipe, override_recipe, parse_recipe
from kdtool.recipe.settings import Recipe
from kdtool.runs.comparison import require_comparison, require_run
from kdtool.runs.folder import ARTIFACTS, RunFolder
from kdtool.runs.lock import run_lock
from kdtool.runs.record import (
    Job,
    begun,
    read_record,
    record_data,
    require_apart,
    require_same_training,
    same_pixels,
)

if TYPE_CHECKING:
    from kdtool.data.reader import Prepared
    from kdtool.results.bench import BenchResult


def start(
    source: str | None = None,
    out: Path | None = None,
    recipe_name: str | None = None,
    overrides: Iterable[str] = (),
    seed: int | None = None,
    screen: Screen = QUIET,
    comparison: bool = False,
) -> Job:
    """A job on `source`, in a new run or in the one that already lies at `out`.

    Where `source`, `recipe_name` or `seed` is None, the one of the run at `out` is meant; where there
    is none either, the digits, the recipe that goes with the source, and 0.

    Args:
        comparison: the job is a comparison's; a folder holds a run or a comparison, never both.

    Raises:
        UsageError: the run at `out` was trained with settings that this job would change, or it would
            lie among the photographs, or the folder is one of the other kind.
    """
    from kdtool.train.loop.precision import with_precision

    name = recipe_name or default_recipe(source)
    run = RunFolder(out or ARTIFACTS / load_recipe(name).name)
    require_kind = require_comparison if comparison else require_run
    require_kind(run)
    record = read_record(run)
    if record is None:
        open_recipe = load_recipe(name, overrides)
        recipe = with_precision(open_recipe)
        left_open = open_recipe.without_precision()
        chosen = [name for name in left_open if getattr(recipe, name).precision == "bfloat16"]
        if chosen:
            without = " ".join(f"--set {name}.precision=float32" for name in chosen)
            screen.say(f"Training in bfloat16, which this processor has; without: {without}")
        job = Job(run, recipe, seed or 0, resolve(source), screen)
    else:
        own = parse_recipe(record["recipe"], str(run.record))
        recipe = override_recipe(own, overrides)
        if recipe_name:
            recipe = with_precision(load_recipe(recipe_name, overrides), like=own)
        source = str(record["source"]) if source is None else resolve(source)
        job = Job(run, recipe, int(record["seed"]) if seed is None else seed, source, screen)
        require_same_training(job, record)
    require_apart(job)
    return job


def resume(run: RunFolder, overrides: Iterable[str], screen: Screen, seed: int | None = None) -> Job:
    """The job of an existing run, its recipe and seed as recorded but for what is given.

    Raises:
        UsageError: not a run, or the overrides change what it was trained with.
    """
    require_run(run)
    record = run.read_record()
    recipe = override_recipe(parse_recipe(record["recipe"], str(run.record)), overrides)
    job = Job(run, recipe, int(record["seed"]) if seed is None else seed, str(record["source"]), screen)
    require_same_training(job, record)
    return job


def check(job: Job, student: bool) -> Job:
    """Find out what is wrong with networks, weights and loss before any photograph is decoded.

    Returns:
        The job, its recipe saying the truth about a teacher that was brought.

    Raises:
        UsageError, ModelFileError: see `kdtool.train.check`.
    """
    from kdtool.train.check import check_student, check_teacher
    from kdtool.train.together.processes import processes

    def checked() -> Recipe:
        recipe = check_teacher(job.run, job.recipe)
        if student:
            check_student(job.run, recipe)
        return recipe

    return replace(job, recipe=processes().once(checked))


@contextmanager
def locked(job: Job) -> Iterator[None]:
    """The run is this job's for the time of the block.

    Raises:
        LockedError, SetupError: see `kdtool.runs.lock`.
    """
    from kdtool.train.together.processes import processes

    with ExitStack() as held:
        processes().once(lambda: held.enter_context(run_lock(job.run.path)))
        yield


def prepare(job: Job, look_again: bool = True) -> Prepared:
    """Scan the photographs, decode them once, and write run.json.

    Args:
        look_again: False takes what the run has prepared with the same settings, where it has; the
            photographs themselves are then not needed.

    Raises:
        UsageError: the run was trained on other photographs, from another place.
    """
    from kdtool.train.together.processes import processes

    return processes().once(lambda: _prepare(job, look_again))


def _prepare(job: Job, look_again: bool) -> Prepared:
    from kdtool.data.prepare import keeps_enough, unchanged
    from kdtool.data.prepare import prepare as prepare_data

    settings, record = job.recipe.data, read_record(job.run)
    prepared = open_data(job) if record and not look_again and same_pixels(job, record) else None
    if prepared is None or not keeps_enough(prepared, settings):
        moved = record is not None and record["source"] != job.source and begun(job.run)
        if record and moved and not unchanged(job.source, settings, job.seed, job.run.data, job.screen):
            raise UsageError(
                f"{job.run.path} was trained on other photographs: {record['source']}, not {job.source}.",
                "Choose another folder with --out DIR.",
            )
        prepared, _ = prepare_data(job.source, settings, job.seed, job.run.data, job.screen)
    record_data(job, prepared.classes, prepared.digest)
    return replace(prepared, in_memory=settings.cache == "memory")


def open_data(job: Job) -> Prepared:
    """The data of a run as prepared; the photographs themselves are not needed."""
    from kdtool.data.reader import open_prepared

    return open_prepared(job.run.data).at(job.source)


def teach(job: Job, prepared: Prepared) -> None:
    """The teacher: trained, or brought as a file."""
    from kdtool.train.teaching.teacher import teach as train_teacher

    train_teacher(job.run, prepared, job.recipe.teacher, job.seed, job.screen)


def distill(job: Job, prepared: Prepared, baseline: bool) -> None:
    """The student, and with `baseline` the same student without the teacher.

    A baseline that is there is kept on the student's budget, asked for or not: it would mislead else.
    """
    from kdtool.train.student import distill as train_student
    from kdtool.train.student import train_baseline

    train_student(job.run, prepared, job.recipe.student, job.seed, job.screen)
    if baseline or "baseline" in job.run.trained_roles():
        train_baseline(job.run.role("baseline"), prepared, job.recipe.student, job.seed, job.screen)


def export(job: Job, prepared: Prepared) -> None:
    """Every trained network to simplified ONNX, parity proven."""
    from kdtool.exporters.stage import export_models

    export_models(job.run, prepared, job.recipe.export, job.screen)


def quantize(job: Job, prepared: Prepared) -> None:
    """Teacher and student to INT8, accuracy guarded.

    Where calibration alone costs the student too much accuracy, and the recipe asks for fine-tuning, it is
    fine-tuned for INT8, exported and quantized again.
    """
    from kdtool.quant.stage import quantize_finetuned, quantize_models

    settings = job.recipe.quantize
    outcome = quantize_models(job.run, prepared, settings, job.screen)
    if outcome.to_finetune:
        from kdtool.exporters.stage import export_finetuned
        from kdtool.train.int8.fakequant import Int8
        from kdtool.train.int8.quantaware import finetune

        scheme, calibration = outcome.to_finetune.choice.scheme, outcome.to_finetune.choice.calibration
        int8 = Int8(scheme.reduce_range, scheme.per_channel, scheme.weight == "int8")
        student, epochs, lr = job.recipe.student, settings.finetune, settings.finetune_lr
        finetune(job.run, prepared, student, epochs, lr, int8, calibration, job.seed, job.screen)
        source = export_finetuned(job.run, prepared, job.recipe.export, job.screen)
        quantize_finetuned(outcome, source)


def bench(job: Job, prepared: Prepared, always: bool = False) -> BenchResult:
    """Accuracy on the test split, compute, latency, and the verdict; `always` measures again."""
    from kdtool.benchmark.stage import bench_run

    return bench_run(job.run, prepared, job.recipe.bench, job.screen, always=always)


def report(job: Job, others: Sequence[RunFolder] = ()) -> Path:
    """The report page, with a table of `others` beside this run."""
    from kdtool.report.stage import write_report

    return write_report(job.run, job.screen, others)


def run_all(job: Job, baseline: bool) -> GateError | None:
    """Every stage. An INT8 model that fails its gate does not cost the rest of the run.

    Returns:
        The gate that quantization failed, if it did.
    """
    from kdtool.train.together.processes import processes

    prepared = prepare(job)
    teach(job, prepared)
    distill(job, prepared, baseline)
    if not processes().first:
        return None
    export(job, prepared)
    failed: GateError | None = None
    try:
        quantize(job, prepared)
    except GateError as error:
        failed = error
        job.screen.warn(f"{error.message}\nThe run goes on without what failed.")
    bench(job, prepared)
    report(job)
    return failed
