"""The stages in order, and the record of a run that ties them together.

    prepare → teach → distill (→ baseline) → export → quantize → bench → report

Each function below is one stage of one job; a stage that is complete with the same inputs says so
and returns. `run_all` is `kdtool run`. Several processes (`kdtool.train.together.processes`) train together;
the other stages are the first one's alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdtool.core.errors import GateError, UsageError
from kdtool.core.screen import QUIET, Screen
from kdtool.data.sources import default_recipe, resolve
from kdtool.machine.versions import versions_of
from kdtool.recipe.files import flatten, load_recipe, override_recipe, parse_recipe
from kdtool.recipe.settings import DataSettings, Recipe
from kdtool.runs.comparison import require_comparison, require_run
from kdtool.runs.folder import ARTIFACTS, SCHEMA, RunFolder
from kdtool.runs.lock import run_lock

if TYPE_CHECKING:
    from kdtool.data.reader import Prepared
    from kdtool.quant.target import Int8Recipe
    from kdtool.results.bench import BenchResult

DIGITS = "digits"
EVERY_ROLE = ("teacher", "student", "baseline")
TRAINED_SECTIONS = {  # which networks a part of the record decides on
    "seed": EVERY_ROLE,
    "data": EVERY_ROLE,
    "teacher": ("teacher",),
    "student": ("student", "baseline"),
}

NO_PART_IN_RESULTS = {"data.cache"}  # may change at any time


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
    record = run.read_record() if run.record.is_file() else None
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
        _require_same_training(job, record)
    _require_apart(job)
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
    _require_same_training(job, record)
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

    settings = job.recipe.data
    record = job.run.read_record() if job.run.record.is_file() else None
    if record and not look_again and _same_pixels(record, settings, job):
        prepared = open_data(job)
        if keeps_enough(prepared, settings):
            return _recorded(job, prepared)
    moved = record is not None and record["source"] != job.source and _begun(job.run, EVERY_ROLE)
    if record and moved and not unchanged(job.source, settings, job.seed, job.run.data, job.screen):
        raise UsageError(
            f"{job.run.path} was trained on other photographs: {record['source']}, not {job.source}.",
            "Choose another folder with --out DIR.",
        )
    prepared, _ = prepare_data(job.source, settings, job.seed, job.run.data, job.screen)
    return _recorded(job, prepared)


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
    """Teacher and student to INT8, accuracy guarded; the student fine-tuned for it where asked for."""
    from kdtool.quant.stage import quantize_models

    settings = job.recipe.quantize

    def refine(recipe: Int8Recipe) -> Path:
        from kdtool.exporters.stage import export_finetuned
        from kdtool.train.int8.fakequant import Int8
        from kdtool.train.int8.quantaware import finetune

        signed = recipe.weight == "int8"
        int8 = Int8(recipe.reduce_range, recipe.per_channel, signed)
        finetune(
            job.run,
            prepared,
            job.recipe.student,
            settings.finetune,
            settings.finetune_lr,
            int8,
            job.seed,
            job.screen,
            job.run.finetuned,
        )
        return export_finetuned(job.run, prepared, job.recipe.export, job.screen)

    quantize_models(job.run, prepared, settings, job.screen, refine if settings.finetune else None)


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


def record_settings(job: Job) -> None:
    """Write the recipe as it now is into run.json, so that the record says what was done."""
    record = job.run.read_record()
    if record["recipe"] != job.recipe.to_json():
        job.run.write_record({**record, "recipe": job.recipe.to_json()})


def _same_pixels(record: Mapping[str, Any], settings: DataSettings, job: Job) -> bool:
    """Whether the run was prepared with these settings, but for where its pictures are kept."""
    before = parse_recipe(record["recipe"], str(job.run.record)).data
    return before.model_copy(update={"cache": settings.cache}) == settings


def _recorded(job: Job, prepared: Prepared) -> Prepared:
    _write_record(job, prepared)
    return replace(prepared, in_memory=job.recipe.data.cache == "memory")


def _write_record(job: Job, prepared: Prepared) -> None:
    record = {
        "recipe": job.recipe.to_json(),
        "seed": job.seed,
        "source": job.source,
        "classes": list(prepared.classes),
        "data": prepared.digest,
        "versions": versions_of(),
    }
    if not job.run.record.is_file() or job.run.read_record() != {"schema": SCHEMA, **record}:
        job.run.write_record(record)


def _require_apart(job: Job) -> None:
    """A run among the photographs would become one of their classes."""
    source, run = Path(job.source), job.run.path.resolve()
    if source.is_dir() and run.is_relative_to(source):
        raise UsageError(
            f"The run would lie among the photographs: {job.run.path} is inside {source}.",
            f"Choose a folder outside with --out, such as --out {source.parent / (source.name + '-run')}",
        )


def _require_same_training(job: Job, record: Mapping[str, Any]) -> None:
    """A trained network may be trained for longer; anything else wants a folder of its own."""
    recorded = parse_recipe(record["recipe"], str(job.run.record))  # fields that are newer have their default
    old = flatten(recorded.to_json()) | {"seed": record["seed"]}
    new = flatten(job.recipe.to_json()) | {"seed": job.seed}
    changed = [
        f"  {key}: {old.get(key)!r} in the run, {new.get(key)!r} asked for"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key) and _is_frozen(job, key, old.get(key), new.get(key))
    ]
    if changed:
        raise UsageError(
            "\n".join([f"{job.run.path} was trained otherwise.", *changed]),
            "Choose another folder with --out DIR, or keep the run's own settings (more epochs are allowed, "
            "but not in the middle of a training whose learning rate falls towards the last).",
        )


def _is_frozen(job: Job, key: str, old: Any, new: Any) -> bool:
    if key in NO_PART_IN_RESULTS:
        return False
    section, _, field = key.partition(".")
    if section == "teacher" and job.recipe.teacher.trained and field != "trained":
        return False  # how a brought teacher would have been trained has no part in it
    roles = TRAINED_SECTIONS.get(section, ())
    if field == "epochs" and isinstance(old, int) and isinstance(new, int) and new > old:
        schedule = getattr(job.recipe, section).schedule
        return schedule != "constant" and any(_unfinished(job.run, role) for role in roles)
    return _begun(job.run, roles)


def _unfinished(run: RunFolder, role: str) -> bool:
    """Whether a network is in the middle of its training."""
    return any(run.role(role).glob("checkpoints/*")) and not (run.role(role) / "manifest.json").is_file()


def _begun(run: RunFolder, roles: Iterable[str]) -> bool:
    """Whether any of these networks has been trained, or has begun to be."""
    return any(run.role(role).is_dir() for role in roles)
