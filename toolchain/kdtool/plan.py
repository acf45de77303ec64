"""`--dry-run`: what a job would do, how long it would take here, and what it would write.

Times are extrapolated from a few real steps of the real networks, so they are right to a factor of
about two; disk is exact for the data and close for the rest.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rich.console import Console
from rich.table import Table

from kdtool.arch.network import build, parameter_count
from kdtool.data.carve import planned_counts
from kdtool.data.prepare import keeps_enough, keeps_training_pixels
from kdtool.data.reader import read_prepared
from kdtool.data.sources import load_listing
from kdtool.recipe.settings import NetworkSettings, StudentSettings
from kdtool.runs.record import Job
from kdtool.runs.stage import read_manifest
from kdtool.train.estimate import noise_examples, seconds_per_image, seconds_per_view
from kdtool.train.loop.fit import clock
from kdtool.train.stage import settings_inputs
from kdtool.train.student import without_soft_labels
from kdtool.train.teaching.source import Costs, why_online

MEGABYTE = 1e6
DECODE_SECONDS = 0.004  # one photograph of half a megapixel on one core
FLOAT_BYTES = 4
LOGIT_BYTES = {"float32": 4, "float16": 2}
CHECKPOINT_COPIES = 8  # two kept, each with weights, best weights and Adam's two moments
EXPORT_SECONDS, QUANTIZE_IMAGES_SHARE = 20.0, 3


@dataclass(frozen=True)
class Step:
    """One line of the plan: seconds and bytes are estimates."""

    name: str
    what: str
    seconds: float
    size: float
    done: bool


def print_plan(job: Job, stages: Sequence[str], baseline: bool) -> None:
    """Print the plan of `stages` on standard output; nothing is written to the run.

    Raises:
        DataError, UsageError: as the stages themselves would, on finding the photographs.
    """
    title = f"Plan for {job.run.path} (recipe {job.recipe.name}, seed {job.seed})"
    print_steps(title, make_plan(job, stages, baseline))


def print_steps(title: str, steps: Sequence[Step]) -> None:
    """Print steps as a table, with the sums of what is to do."""
    table = Table(title=title)
    for heading in ("stage", "what", "time", "disk", "state"):
        table.add_column(heading, justify="right" if heading in ("time", "disk") else "left")
    for step in steps:
        state = "there, skipped if unchanged" if step.done else "to do"
        table.add_row(step.name, step.what, clock(step.seconds), f"{step.size / MEGABYTE:,.0f} MB", state)
    todo = [step for step in steps if not step.done]
    console = Console()
    console.print(table)
    console.print(
        f"To do: about {clock(sum(step.seconds for step in todo))} (h:mm:ss or m:ss) and "
        f"{sum(step.size for step in todo) / MEGABYTE:,.0f} MB. Early stopping may end sooner.",
        highlight=False,
    )


def make_plan(job: Job, stages: Sequence[str], baseline: bool, shared: bool = False) -> list[Step]:
    """The steps of `stages` with measured estimates. A data set by name is downloaded to be counted.

    Args:
        shared: whether several students share the soft labels.
    """
    listing = load_listing(job.source)
    recipe, classes = job.recipe, len(listing.classes)
    images = planned_counts(listing, recipe.data, job.seed)
    total = sum(images.values())
    what = f"{total:,} photographs, {classes} classes, {recipe.data.size} pixels"
    kept = total if _keeps(job, total) else total - images["train"]
    data_bytes = kept * recipe.data.size**2 * 3
    steps = [_step(job, "prepare", what, total * DECODE_SECONDS, data_bytes)]
    if recipe.teacher.trained:
        steps.append(_step(job, "teacher", f"take {recipe.teacher.trained}", 1, 0))
    else:
        steps.append(_training(job, "teacher", recipe.teacher, classes, images))
    if "distill" in stages:
        along = _asks_along(job, classes, images, shared)
        if not along:
            steps.append(_soft_labels(job, classes, images))
        steps.append(_distillation(job, classes, images, along))
        if baseline:
            steps.append(_training(job, "baseline", recipe.student, classes, images))
    if "export" in stages:
        steps += _after_training(job, classes, images)
    return steps


def _asks_along(job: Job, classes: int, images: Mapping[str, int], shared: bool) -> bool:
    """Whether the teacher is asked in each step, as `kdtool.train.teaching.source` decides."""
    student = job.recipe.student

    def stored() -> bool:
        return _is_there(job, "label")

    def costs() -> Costs:
        view = _view(job, student, classes) + _decoding(job, images)
        return Costs(_forward(job, job.recipe.teacher, classes), view)

    return bool(student.features.name) or why_online(student, shared, stored, costs) is not None


def _soft_labels(job: Job, classes: int, images: Mapping[str, int]) -> Step:
    student = job.recipe.student
    views = student.seen_views
    rows = views * images["train"] + images["validation"]
    what = "the teacher's logits, once" + (f" of each of {views} views" if views > 1 else "")
    seconds = rows * _forward(job, job.recipe.teacher, classes)
    seconds += views * images["train"] * (_view(job, student, classes) + _decoding(job, images))
    return _step(job, "label", what, seconds, rows * classes * LOGIT_BYTES[student.answers])


def _distillation(job: Job, classes: int, images: Mapping[str, int], along: bool) -> Step:
    """`along`: the teacher is asked in every step."""
    student = job.recipe.student
    step = _training(job, "student", student, classes, images)
    if not along:
        return step
    validations = student.epochs if student.features.name else 1  # without, they are remembered
    asked = student.epochs * images["train"] + validations * images["validation"]
    seconds = asked * _forward(job, job.recipe.teacher, classes)
    return replace(step, what=f"{step.what}, the teacher along", seconds=step.seconds + seconds)


def _after_training(job: Job, classes: int, images: Mapping[str, int]) -> list[Step]:
    recipe = job.recipe
    networks = (recipe.teacher, recipe.student)
    both = sum(_forward(job, settings, classes) for settings in networks)
    calibration = min(recipe.quantize.calibration_images, images["train"])
    quantize = QUANTIZE_IMAGES_SHARE * (calibration + images["validation"]) * both
    timed = 2 * (recipe.bench.warmup + recipe.bench.runs + recipe.bench.batch * recipe.bench.batches)
    bench = (images["test"] + timed) * both * 2
    size = FLOAT_BYTES * sum(
        parameter_count(build(settings.arch, classes, recipe.data.size)) for settings in networks
    )
    forms = 1 + recipe.export.uint8 + recipe.export.ort  # of each network, all about as large
    return [
        _step(job, "export", "ONNX, simplified, parity on real images", 2 * EXPORT_SECONDS, forms * size),
        _step(job, "quantize", f"INT8, {calibration} training images", quantize + EXPORT_SECONDS, size / 4),
        _step(
            job, "bench", f"{images['test']:,} test images, {recipe.bench.runs} latency samples", bench, 1e5
        ),
        _step(job, "report", "one HTML page", 2, 5e5),
    ]


def _training(
    job: Job, role: str, settings: NetworkSettings, classes: int, images: Mapping[str, int]
) -> Step:
    size = job.recipe.data.size
    step = seconds_per_image(settings.arch, classes, size, training=True, precision=settings.precision)
    step += _view(job, settings, classes) + _decoding(job, images)
    seconds = images["train"] * step + images["validation"] * _forward(job, settings, classes)
    weights = parameter_count(build(settings.arch, classes, size)) * FLOAT_BYTES
    what = f"{settings.arch}, at most {settings.epochs} epochs of {images['train']:,} images"
    return _step(job, role, what, settings.epochs * seconds, weights * (1 + CHECKPOINT_COPIES))


def _forward(job: Job, settings: NetworkSettings, classes: int) -> float:
    return seconds_per_image(settings.arch, classes, job.recipe.data.size, training=False)


def _view(job: Job, settings: NetworkSettings, classes: int) -> float:
    return seconds_per_view(noise_examples(settings.augment, classes, job.recipe.data.size))


def _decoding(job: Job, images: Mapping[str, int]) -> float:
    """Seconds that each training picture costs anew, every time it is asked for."""
    return 0.0 if _keeps(job, sum(images.values())) else DECODE_SECONDS


def _keeps(job: Job, photographs: int) -> bool:
    """Whether decoded training pictures are kept, or would be."""
    if read_manifest(job.run.data / "manifest.json") is not None:
        standing = read_prepared(job.run.data)
        if keeps_enough(standing, job.recipe.data):
            return not standing.photographs
    folder = next(path for path in (job.run.path.resolve(), *job.run.path.resolve().parents) if path.exists())
    return keeps_training_pixels(job.recipe.data, photographs, shutil.disk_usage(folder).free)


def _step(job: Job, name: str, what: str, seconds: float, size: float) -> Step:
    return Step(name, what, seconds, size, done=_is_there(job, name))


def _is_there(job: Job, name: str) -> bool:
    """Whether the stage was completed with the settings that the job has now.

    Its other inputs, the photographs above all, are looked at when the stage runs.
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
    return all(_is_there(job, role) for role in earlier) and _sealed_as(job, name)


def _trained_as(settings: NetworkSettings, role: str) -> NetworkSettings:
    if role == "baseline" and isinstance(settings, StudentSettings):
        return without_soft_labels(settings)
    return settings


def _sealed_as(job: Job, name: str) -> bool:
    """Whether a stage after training is complete with the job's settings of it."""
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
