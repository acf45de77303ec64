"""Stages of a run, in their order.

    stage     does                                                  writes
    prepare   scan the photographs and decode them once             data/, run.json
    teach     train the teacher, or copy a trained one              teacher/
    distill   train the student, and the baseline on request        student/, baseline/, probe/, softlabels/
    export    write each network as ONNX and check parity           onnx/
    quantize  write teacher and student as INT8                     onnx/, finetuned/
    bench     measure accuracy, compute and latency; the verdict    bench.json, predictions.csv
    report    write the page                                        report.html

`run_all` is `kdtool run`. Each function after it is one stage of one job; a stage that is complete with the
same inputs says so and returns. The functions at the end open a job. Several processes
(`kdtool.train.together.processes`) train together; the first process does the other stages alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdtool.core.checks import check_seed
from kdtool.core.errors import DataError, GateError, UsageError
from kdtool.core.screen import QUIET, Screen
from kdtool.core.spelling import assigned
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
    from kdtool.data.unlabelled import Counts
    from kdtool.recipe.settings import DataSettings
    from kdtool.results.bench import BenchResult


def run_all(job: Job, baseline: bool) -> GateError | None:
    """Run every stage. If the student's INT8 model fails its gate, the later stages run without this model.

    Args:
        baseline: train the student without the teacher as well.

    Returns:
        The error of the gate that quantization or the answers to the test images failed, if any.
    """
    from kdtool.runs.soundness import require_sound_results
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
        job.screen.warn(f"{error.message}\nThe run continues without this INT8 model.")
    result = bench(job, prepared)
    report(job)
    try:
        require_sound_results(result, job.run.bench)
    except GateError as error:
        return error
    return failed


def prepare(job: Job, rescan: bool = True, cuts: bool | None = None) -> Prepared:
    """Scan the photographs, decode them once, and write run.json.

    Args:
        rescan: False uses the prepared data of the run if its settings are the same; the photographs are
            not needed then.
        cuts: True if views are cut from whole photographs; None is as the recipe says.

    Raises:
        UsageError: the run was trained on other photographs, from another folder.
    """
    from kdtool.train.together.processes import processes

    return processes().once(lambda: _prepare(job, rescan, cuts))


def _prepare(job: Job, rescan: bool, cuts: bool | None) -> Prepared:
    from kdtool.data.prepare import keeps_enough, unchanged
    from kdtool.data.prepare import prepare as prepare_data

    settings, record = job.recipe.data, read_record(job.run)
    prepared = open_data(job) if record and not rescan and same_pixels(job, record) else None
    if prepared is None or not keeps_enough(prepared, settings):
        moved = record is not None and record["source"] != job.source and begun(job.run)
        if record and moved and not unchanged(job.source, settings, job.seed, job.run.data, job.screen):
            raise UsageError(
                f"{job.run.path} was trained on other photographs: {record['source']}, not {job.source}.",
                f"Choose another folder with {assigned({'out': 'DIR'})}.",
            )
        prepared, _ = prepare_data(job.source, settings, job.seed, job.run.data, job.screen)
    prepared = replace(
        prepared, in_memory=settings.cache == "memory", source=job.source, balance=settings.balance
    )
    known = not rescan and record is not None and job.recipe.data.unlabelled == _unlabelled_in(record)
    prepared, counts = _with_unlabelled(job, _at_teachers_size(job, prepared), known)
    record_data(job, prepared.classes, prepared.digest, counts)
    if job.recipe.cuts_views if cuts is None else cuts:
        _prepare_whole(job, prepared)
    return prepared


def _at_teachers_size(job: Job, prepared: Prepared) -> Prepared:
    """Prepare the same photographs at the size of the teacher, if it has a size of its own."""
    from kdtool.data.prepare import prepare as prepare_data
    from kdtool.data.reader import TEACHER_FOLDER, with_teacher

    settings = job.recipe.teacher_data
    if settings != job.recipe.data:
        job.screen.say(f"prepare: the same photographs at {settings.size} pixels, for the teacher.")
        prepare_data(job.source, settings, job.seed, prepared.folder / TEACHER_FOLDER, QUIET)
        prepared = with_teacher(prepared)
        if prepared.teacher is None:
            raise DataError(
                f"{job.source}: the photographs changed while they were prepared for the teacher.",
                "Run the same command again.",
            )
    return prepared


def _with_unlabelled(job: Job, prepared: Prepared, known: bool) -> tuple[Prepared, dict[str, Any] | None]:
    """Prepare the photographs without labels, if the recipe names some; return what run.json says of them.

    Args:
        known: True uses them as they were prepared, if they were; their folder is not needed then.
    """
    from kdtool.data.unlabelled import FOLDER, open_unlabelled, prepare_unlabelled

    if not job.recipe.data.unlabelled:
        return prepared, None

    def added(data: Prepared, settings: DataSettings, screen: Screen) -> tuple[Prepared, Counts]:
        place = data.folder / FOLDER
        found = open_unlabelled(settings, place) if known else None
        found = found or prepare_unlabelled(replace(data, source=job.source), settings, place, screen)
        return replace(found[0], in_memory=prepared.in_memory), found[1]

    more, counts = added(prepared, job.recipe.data, job.screen)
    teacher = prepared.teacher
    if teacher is not None:
        theirs, _ = added(teacher, job.recipe.teacher_data, QUIET)
        teacher = replace(teacher, unlabelled=replace(theirs, whole_folder=more.folder))
    recorded = {
        "folder": job.recipe.data.unlabelled,
        "used": counts.used,
        "left_out": dict(counts.left_out),
    }
    return replace(prepared, unlabelled=more, teacher=teacher), recorded


def _unlabelled_in(record: Mapping[str, Any]) -> str:
    """Folder of the photographs without labels in a record; empty if there are none."""
    return str((record.get("unlabelled") or {}).get("folder", ""))


def _prepare_whole(job: Job, prepared: Prepared) -> None:
    """Prepare whole training photographs, since a network cuts its views out of them."""
    from kdtool.data.pixels.whole import make_whole, whole_side
    from kdtool.data.reader import TRAIN

    recipe = job.recipe
    side = whole_side(recipe.data.size, recipe.teacher_data.size)
    for part in (prepared, prepared.unlabelled):
        if part is not None:
            paths, hashes = part.files(TRAIN)
            stored = not part.photographs
            make_whole(part.folder, part.source, paths, hashes, side, stored, job.screen)


def open_data(job: Job) -> Prepared:
    """Open the prepared data of a run; the photographs are not needed."""
    from kdtool.data.reader import open_prepared

    prepared = open_prepared(job.run.data).at(job.source)
    record = read_record(job.run)
    known = record is not None and job.recipe.data.unlabelled == _unlabelled_in(record)
    return _with_unlabelled(job, prepared, known)[0] if known else prepared


def teach(job: Job, prepared: Prepared) -> None:
    """Train the teacher, or copy a trained one."""
    from kdtool.train.teaching.teacher import teach as train_teacher

    train_teacher(job.run, prepared.for_teacher, job.recipe.teacher, job.seed, job.screen)


def distill(job: Job, prepared: Prepared, baseline: bool) -> None:
    """Train the student, and with `baseline` the same student without the teacher.

    If the run already has a baseline, it is trained on the student's budget in any case: the comparison
    would be unfair otherwise.
    """
    from kdtool.train.probe import probe
    from kdtool.train.student import distill as train_student
    from kdtool.train.student import train_baseline

    settings = job.recipe.student
    start = probe(job.run.role("probe"), "student", prepared, settings, job.screen)
    train_student(job.run, prepared, settings, job.seed, job.screen, start=start)
    if baseline or "baseline" in job.run.trained_roles():
        train_baseline(job.run.role("baseline"), prepared, settings, job.seed, job.screen, start=start)


def export(job: Job, prepared: Prepared) -> None:
    """Write every trained network as simplified ONNX, and check its parity with torch."""
    from kdtool.exporters.stage import export_models

    export_models(job.run, prepared, job.recipe.export, job.screen)


def quantize(job: Job, prepared: Prepared) -> None:
    """Write teacher and student as INT8, if they lose little accuracy.

    If calibration alone costs the student too much accuracy, and the recipe asks for fine-tuning, the student
    is fine-tuned for INT8, exported and quantized again.

    Raises:
        GateError: a model loses too much accuracy.
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
    """Measure accuracy on the test split, compute and latency, and judge the claim.

    Args:
        always: measure again even if the stage is complete.
    """
    from kdtool.benchmark.stage import bench_run

    return bench_run(job.run, prepared, job.recipe.bench, job.screen, always=always)


def report(job: Job, others: Sequence[RunFolder] = ()) -> Path:
    """Write the report page, with a table that compares this run with `others`."""
    from kdtool.report.stage import write_report

    return write_report(job.run, job.screen, others)


def start(
    source: str | None = None,
    out: Path | None = None,
    recipe_name: str | None = None,
    overrides: Iterable[str] = (),
    seed: int | None = None,
    screen: Screen = QUIET,
    comparison: bool = False,
) -> Job:
    """Open a job on `source`, in a new run or in the run at `out`.

    If `source`, `recipe_name` or `seed` is None, the job takes it from the run at `out`. Without a run, it
    takes the digits, the recipe for the source, and 0.

    Args:
        comparison: True for the job of a comparison; a folder has a run or a comparison, never both.

    Raises:
        UsageError: the seed is not from 0 to 2³² − 1, the run at `out` was trained with settings that this
            job would change, the folder would be among the photographs, or the folder is of the other kind.
    """
    from kdtool.train.loop.precision import with_precision

    seed = None if seed is None else check_seed(seed)
    name = recipe_name or default_recipe(source)
    run = RunFolder(out or ARTIFACTS / load_recipe(name).name)
    require_kind = require_comparison if comparison else require_run
    require_kind(run)
    record = read_record(run)
    if record is None:
        open_recipe = load_recipe(name, overrides)
        recipe = with_precision(open_recipe)
        left_open = open_recipe.without_precision()
        bfloat16 = [role for role in left_open if getattr(recipe, role).precision == "bfloat16"]
        if bfloat16:
            float32 = assigned({f"{role}.precision": "float32" for role in bfloat16})
            screen.say(f"Training uses bfloat16, since this processor has it. For float32: {float32}")
        job = Job(run, recipe, seed or 0, resolve(source), screen)
    else:
        recorded = parse_recipe(record["recipe"], str(run.record))
        recipe = override_recipe(recorded, overrides)
        if recipe_name:
            recipe = with_precision(load_recipe(recipe_name, overrides), like=recorded)
        source = str(record["source"]) if source is None else resolve(source)
        job = Job(run, recipe, int(record["seed"]) if seed is None else seed, source, screen)
        require_same_training(job, record)
    require_apart(job)
    return job


def resume(run: RunFolder, overrides: Iterable[str], screen: Screen, seed: int | None = None) -> Job:
    """Open a job in an existing run, with its recorded recipe and seed unless the arguments change them.

    Raises:
        UsageError: the folder is not a run, or the overrides change settings of a trained network.
    """
    require_run(run)
    record = run.read_record()
    recipe = override_recipe(parse_recipe(record["recipe"], str(run.record)), overrides)
    job = Job(run, recipe, int(record["seed"]) if seed is None else seed, str(record["source"]), screen)
    require_same_training(job, record)
    return job


def check(job: Job, student: bool, download: bool = True) -> Job:
    """Check networks, weights and losses before any photograph is decoded.

    Args:
        student: check the student as well as the teacher.
        download: False does not download weights.

    Returns:
        The job; its recipe has the real settings of a teacher that comes from a file.

    Raises:
        UsageError, ModelFileError: see `kdtool.train.check`.
    """
    from kdtool.train.check import check_student, check_teacher
    from kdtool.train.together.processes import processes

    def checked() -> Recipe:
        recipe = check_teacher(job.run, job.recipe, download)
        if student:
            check_student(job.run, recipe, download)
        return recipe

    return replace(job, recipe=processes().once(checked))


@contextmanager
def locked(job: Job) -> Iterator[None]:
    """Hold the lock of the run during a block.

    Raises:
        LockedError, SetupError: see `kdtool.runs.lock`.
    """
    from kdtool.train.together.processes import processes

    with ExitStack() as held:
        processes().once(lambda: held.enter_context(run_lock(job.run.path)))
        yield
