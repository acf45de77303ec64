"""Plan of a job for `--dry-run`: its steps, their time on this machine, and the disk space they need.

Times are extrapolated from a few real steps of the real networks, so they are right within a factor of
about two. The disk space is exact for the data and close for the rest.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from kdtool.arch.network import build, parameter_count, published_weights
from kdtool.benchmark.timing.protocol import plans
from kdtool.core.screen import QUIET
from kdtool.data.carve import planned_counts
from kdtool.data.pixels.whole import bytes_wanted, whole_side
from kdtool.data.prepare import keeps_enough, keeps_training_pixels
from kdtool.data.reader import read_prepared
from kdtool.data.sources import load_listing, resolve
from kdtool.data.sources.torchvision import missing
from kdtool.data.sources.unlabelled import PREFIX
from kdtool.exporters.variants import VARIANTS
from kdtool.recipe.advised import Costs
from kdtool.recipe.choices import Trained
from kdtool.recipe.settings import (
    AugmentSettings,
    NetworkSettings,
    Recipe,
    StudentSettings,
    TeacherSettings,
)
from kdtool.runs.folder import RunFolder
from kdtool.runs.record import Job
from kdtool.runs.stage import read_manifest
from kdtool.train.estimate import noise_examples, seconds_per_image, seconds_per_view
from kdtool.train.loop.fit import clock
from kdtool.train.settings import settings_inputs
from kdtool.train.student import without_soft_labels
from kdtool.train.teaching.source import Costs as TeacherCosts
from kdtool.train.teaching.source import validation_passes, why_online

MEGABYTE = 1e6
NOWHERE = "artifacts/.estimate"  # a run that does not exist
DECODE_SECONDS = 0.004  # for one photograph of half a megapixel on one core
PROCESS_SECONDS = 1.0  # to start a process that runs a model
BENCH_MODELS = 4  # teacher and student, each in float32 and in INT8
FLOAT_BYTES = 4
LOGIT_BYTES = {"float32": 4, "float16": 2}
CHECKPOINT_COPIES = 8  # two checkpoints, each with weights, best weights and the two moments of Adam
EXPORT_SECONDS, QUANTIZE_IMAGES_SHARE = 20.0, 3


@dataclass(frozen=True)
class Step:
    """One line of the plan.

    Attributes:
        name: name of the stage in its manifest.
        what: description for the user.
        seconds, size: estimates of the time and of the disk space in bytes.
        done: True if the stage is complete with the settings of the job.
    """

    name: str
    what: str
    seconds: float
    size: float
    done: bool


def print_plan(job: Job, stages: Sequence[str], baseline: bool) -> None:
    """Print the plan of `stages` on standard output; nothing is written to the run.

    Raises:
        DataError, UsageError: the photographs cannot be found, as in the stages themselves.
    """
    title = f"Plan for {job.run.path} (recipe {job.recipe.name}, seed {job.seed})"
    print_steps(title, make_plan(job, stages, baseline))


def print_steps(title: str, steps: Sequence[Step]) -> None:
    """Print steps as a table, and the sums over the steps that are not done."""
    table = Table(title=title)
    for heading in ("stage", "what", "time", "disk", "state"):
        table.add_column(heading, justify="right" if heading in ("time", "disk") else "left")
    for step in steps:
        state = "done, skipped if unchanged" if step.done else "to do"
        table.add_row(step.name, step.what, clock(step.seconds), f"{step.size / MEGABYTE:,.0f} MB", state)
    todo = [step for step in steps if not step.done]
    console = Console()
    console.print(table)
    console.print(
        f"To do: about {clock(sum(step.seconds for step in todo))} (h:mm:ss or m:ss) and "
        f"{sum(step.size for step in todo) / MEGABYTE:,.0f} MB. Early stopping may end a training sooner.",
        highlight=False,
    )


def make_plan(job: Job, stages: Sequence[str], baseline: bool, shared: bool = False) -> list[Step]:
    """Estimate the steps of `stages`. Nothing is downloaded.

    Args:
        shared: True if several students use the soft labels.

    Returns:
        The steps; only the downloads if a data set by name is not there yet, because its images must be
        counted.
    """
    place = missing(job.source)
    if place is not None:
        what = f"{job.source}, to {place}; its images are counted then, which the rest of the plan needs"
        return [Step("download data", what, 0, 0, done=False), *_downloads(job)]
    listing = load_listing(job.source)
    recipe, classes = job.recipe, len(listing.classes)
    images = planned_counts(listing, recipe.data, job.seed)
    unlabelled = _unlabelled(recipe)
    of_student = {**images, "train": images["train"] + unlabelled}
    total = sum(of_student.values())
    more = f", {unlabelled:,} without labels" if unlabelled else ""
    what = f"{total:,} photographs{more}, {classes} classes, {recipe.data.size} pixels"
    stored_images = total if _keeps_pixels(job, total) else total - of_student["train"]
    data_bytes = stored_images * recipe.data.size**2 * 3
    if recipe.teacher_data != recipe.data:
        data_bytes += stored_images * recipe.teacher_data.size**2 * 3
    if recipe.cuts_views and stored_images == total:
        side = whole_side(recipe.data.size, recipe.teacher_data.size)
        data_bytes += bytes_wanted(of_student["train"], side)
    steps = [*_downloads(job), _step(job, "prepare", what, total * DECODE_SECONDS, data_bytes)]
    if recipe.teacher.trained:
        steps.append(_step(job, "teacher", f"copy {recipe.teacher.trained}", 1, 0))
    else:
        steps.append(_training(job, "teacher", recipe.teacher, classes, images))
    if "distill" in stages:
        online = _runs_teacher_online(job, classes, of_student, shared)
        if not online:
            steps.append(_soft_labels(job, classes, of_student, images))
        steps.append(_distillation(job, classes, of_student, online))
        if baseline:
            steps.append(_training(job, "baseline", recipe.student, classes, images))
    if "export" in stages:
        steps += _after_training(job, classes, images)
    return steps


def _unlabelled(recipe: Recipe) -> int:
    """Number of photographs without labels, before those are left out that are known or held out."""
    folder = recipe.data.unlabelled
    return len(load_listing(f"{PREFIX}{folder}").samples) if folder else 0


def costs_of(source: str, recipe: Recipe) -> Costs:
    """Estimate a whole run with `recipe` on this machine: one epoch of the student, and all the rest."""
    job = Job(RunFolder(Path(NOWHERE)), recipe, 0, resolve(source), QUIET)
    steps = make_plan(job, ("teach", "distill", "export", "quantize", "bench", "report"), baseline=False)
    student = sum(step.seconds for step in steps if step.name == "student")
    return Costs(student / recipe.student.epochs, sum(step.seconds for step in steps) - student)


def gpu_seconds(images: int, epochs: int) -> float:
    """Time of a training on a GPU that is faster than the views are made, by one process of this machine."""
    examples = noise_examples(AugmentSettings(crop=0.35, flip=True), 2, 128)
    return epochs * images * seconds_per_view(examples)


def _downloads(job: Job) -> list[Step]:
    """List the weights that have to be downloaded; nothing is downloaded here."""
    networks: dict[str, NetworkSettings] = {"teacher": job.recipe.teacher, "student": job.recipe.student}
    if job.recipe.teacher.trained:
        networks.pop("teacher")
    steps = []
    for role, settings in networks.items():
        file = published_weights(settings.arch, settings.weights)
        if file is not None and not file.present and not _is_done(job, role):
            size = parameter_count(build(settings.arch, 2, _size_of(job, settings))) * FLOAT_BYTES
            steps.append(Step(f"download {role}", f"its weights: {file}", 0, size, done=False))
    return steps


def _runs_teacher_online(job: Job, classes: int, images: Mapping[str, int], shared: bool) -> bool:
    """Return True if the teacher runs in each training step, as `kdtool.train.teaching.source` decides."""
    student = job.recipe.student

    def stored() -> bool:
        return _is_done(job, "label")

    def costs() -> TeacherCosts:
        view = _view_seconds(job, student, classes) + _decoding_seconds(job, images)
        return TeacherCosts(_forward_seconds(job, job.recipe.teacher, classes), view)

    return why_online(student, shared, stored, costs) is not None


def _soft_labels(job: Job, classes: int, images: Mapping[str, int], labelled: Mapping[str, int]) -> Step:
    """Estimate the soft labels; a frozen teacher has answered the labelled images in its probe."""
    student = job.recipe.student
    views = student.seen_views
    rows = views * images["train"] + images["validation"]
    what = "the teacher's logits, once for each " + (f"of {views} views" if views > 1 else "image")
    known = 0
    if job.recipe.teacher.train is Trained.HEAD and not job.recipe.teacher.trained:
        known = labelled["validation"] + (0 if student.augment.active else labelled["train"])
    seconds = (rows - known) * _forward_seconds(job, job.recipe.teacher, classes)
    view = _view_seconds(job, student, classes) + _decoding_seconds(job, images)
    seconds += views * images["train"] * view
    return _step(job, "label", what, seconds, rows * classes * LOGIT_BYTES[student.answers])


def _distillation(job: Job, classes: int, images: Mapping[str, int], online: bool) -> Step:
    """Estimate the training of the student; with `online` the teacher runs in each step."""
    student = job.recipe.student
    step = _training(job, "student", student, classes, images)
    if not online:
        return step
    inferences = student.epochs * images["train"] + validation_passes(student) * images["validation"]
    seconds = inferences * _forward_seconds(job, job.recipe.teacher, classes)
    return replace(step, what=f"{step.what}, with the teacher", seconds=step.seconds + seconds)


def _after_training(job: Job, classes: int, images: Mapping[str, int]) -> list[Step]:
    recipe = job.recipe
    networks = (recipe.teacher, recipe.student)
    both = sum(_forward_seconds(job, settings, classes) for settings in networks)
    calibration = min(recipe.quantize.calibration_images, images["train"])
    quantize = QUANTIZE_IMAGES_SHARE * (calibration + images["validation"]) * both
    latency, throughput = plans(recipe.bench)
    timed = latency.warmup + latency.runs
    if throughput:
        timed += recipe.bench.batch * (throughput.warmup + throughput.runs)
    processes = recipe.bench.sessions + recipe.bench.cold_starts * BENCH_MODELS
    bench = (images["test"] + 2 * recipe.bench.sessions * timed) * both * 2 + processes * PROCESS_SECONDS
    size = FLOAT_BYTES * sum(
        parameter_count(build(settings.arch, classes, _size_of(job, settings))) for settings in networks
    )
    files = 1 + sum(getattr(recipe.export, kind) for kind in VARIANTS)  # of each network, about equally large
    return [
        _step(job, "export", "ONNX, simplified, parity on real images", 2 * EXPORT_SECONDS, files * size),
        _step(job, "quantize", f"INT8, {calibration} training images", quantize + EXPORT_SECONDS, size / 4),
        _step(
            job, "bench", f"{images['test']:,} test images, {recipe.bench.runs} latency samples", bench, 1e5
        ),
        _step(job, "report", "one HTML page", 2, 5e5),
    ]


def _training(
    job: Job, role: str, settings: NetworkSettings, classes: int, images: Mapping[str, int]
) -> Step:
    size = _size_of(job, settings)
    step = seconds_per_image(settings.arch, classes, size, training=True, precision=settings.precision)
    step += _view_seconds(job, settings, classes) + _decoding_seconds(job, images)
    seconds = images["train"] * step + images["validation"] * _forward_seconds(job, settings, classes)
    weights = parameter_count(build(settings.arch, classes, size)) * FLOAT_BYTES
    what = f"{settings.arch}, at most {settings.epochs} epochs of {images['train']:,} images"
    return _step(job, role, what, settings.epochs * seconds, weights * (1 + CHECKPOINT_COPIES))


def _size_of(job: Job, settings: NetworkSettings) -> int:
    """Side of the input of a network, pixels."""
    is_teacher = isinstance(settings, TeacherSettings)
    return (job.recipe.teacher_data if is_teacher else job.recipe.data).size


def _forward_seconds(job: Job, settings: NetworkSettings, classes: int) -> float:
    return seconds_per_image(settings.arch, classes, _size_of(job, settings), training=False)


def _view_seconds(job: Job, settings: NetworkSettings, classes: int) -> float:
    return seconds_per_view(noise_examples(settings.augment, classes, _size_of(job, settings)))


def _decoding_seconds(job: Job, images: Mapping[str, int]) -> float:
    """Time to decode a training image each time it is used; 0 if its decoded pixels are kept."""
    return 0.0 if _keeps_pixels(job, sum(images.values())) else DECODE_SECONDS


def _keeps_pixels(job: Job, photographs: int) -> bool:
    """Return True if the run keeps decoded training images, or would keep them."""
    if read_manifest(job.run.data / "manifest.json") is not None:
        prepared = read_prepared(job.run.data)
        if keeps_enough(prepared, job.recipe.data):
            return not prepared.photographs
    folder = next(path for path in (job.run.path.resolve(), *job.run.path.resolve().parents) if path.exists())
    return keeps_training_pixels(job.recipe.data, photographs, shutil.disk_usage(folder).free)


def _step(job: Job, name: str, what: str, seconds: float, size: float) -> Step:
    return Step(name, what, seconds, size, done=_is_done(job, name))


def _is_done(job: Job, name: str) -> bool:
    """Return True if the stage was completed with the settings of the job.

    The stage checks its other inputs, such as the photographs, when it runs.
    """
    run, recipe = job.run, job.recipe
    networks = {"teacher": recipe.teacher, "student": recipe.student, "baseline": recipe.student}
    if name in networks:
        manifest = read_manifest(run.role(name) / "manifest.json")
        if manifest is None or "file" in manifest.inputs:
            return manifest is not None and bool(recipe.teacher.trained)
        return manifest.inputs.get("settings") == settings_inputs(_trained_as(networks[name], name))
    places = {"prepare": run.data, "label": run.soft_labels}
    if name in places:
        return read_manifest(places[name] / "manifest.json") is not None
    earlier = [role for role in networks if role != "baseline"]
    return all(_is_done(job, role) for role in earlier) and _sealed_as(job, name)


def _trained_as(settings: NetworkSettings, role: str) -> NetworkSettings:
    if role == "baseline" and isinstance(settings, StudentSettings):
        return without_soft_labels(settings)
    return settings


def _sealed_as(job: Job, name: str) -> bool:
    """Return True if a stage after training is complete with its settings in the job."""
    manifests = [
        read_manifest(path)
        for folder in (job.run.onnx, job.run.path)
        for path in folder.glob(f"{name}*.manifest.json")
    ]
    settings = job.recipe.to_json().get(name)
    return bool(manifests) and all(
        manifest is not None and manifest.inputs.get("settings", settings) == settings
        for manifest in manifests
    )
