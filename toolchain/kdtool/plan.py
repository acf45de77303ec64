"""`--dry-run`: what a job would do, how long it would take here, and what it would write.

Times are extrapolated from a few real steps of the real networks, so they are right to a factor of
about two; disk is exact for the data and close for the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from kdtool.arch.network import build, parameter_count
from kdtool.core.manifest import read_manifest
from kdtool.core.recipe import DataSettings, NetworkSettings
from kdtool.data.listing import Listing
from kdtool.data.sources import load_listing
from kdtool.pipeline import Job
from kdtool.train.estimate import seconds_per_image
from kdtool.train.fit import clock

MEGABYTE = 1e6
DECODE_SECONDS = 0.004  # one photograph of half a megapixel on one core
FLOAT_BYTES = 4
CHECKPOINT_COPIES = 8  # two kept, each with weights, best weights and Adam's two moments
EXPORT_SECONDS, QUANTIZE_IMAGES_SHARE, BENCH_FORWARDS = 20.0, 3, 250


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
    steps = make_plan(job, stages, baseline)
    table = Table(title=f"Plan for {job.run.path} (recipe {job.recipe.name}, seed {job.seed})")
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


def make_plan(job: Job, stages: Sequence[str], baseline: bool) -> list[Step]:
    """The steps of `stages` with measured estimates."""
    listing = load_listing(job.source)
    recipe, classes = job.recipe, len(listing.classes)
    images = _counts(listing, recipe.data)
    pixels = recipe.data.size**2 * 3
    total = sum(images.values())
    what = f"{total:,} photographs, {classes} classes, {recipe.data.size} pixels"
    steps = [_step(job, "prepare", what, total * DECODE_SECONDS, total * pixels)]
    if "teach" in stages:
        if recipe.teacher.trained:
            steps.append(_step(job, "teach", f"take {recipe.teacher.trained}", 1, 0))
        else:
            steps.append(_training(job, "teacher", recipe.teacher, classes, images))
    forward = {
        settings.arch: seconds_per_image(settings.arch, classes, recipe.data.size, training=False)
        for settings in (recipe.teacher, recipe.student)
    }
    labelled = images["train"] + images["validation"]
    if "distill" in stages:
        steps.append(
            _step(
                job,
                "label",
                "the teacher's answers, once",
                labelled * forward[recipe.teacher.arch],
                labelled * 40,
            )
        )
        steps.append(_training(job, "student", recipe.student, classes, images))
        if baseline:
            steps.append(_training(job, "baseline", recipe.student, classes, images))
    if "export" in stages:
        steps += _after_training(job, images, forward)
    return steps


def _after_training(job: Job, images: dict[str, int], forward: dict[str, float]) -> list[Step]:
    recipe = job.recipe
    both = forward[recipe.teacher.arch] + forward[recipe.student.arch]
    calibration = min(recipe.quantize.calibration_images, images["train"])
    quantize = QUANTIZE_IMAGES_SHARE * (calibration + images["validation"]) * both
    bench = (images["test"] + BENCH_FORWARDS) * both * 2
    size = (
        1.25
        * FLOAT_BYTES
        * sum(
            parameter_count(build(settings.arch, 10, recipe.data.size))
            for settings in (recipe.teacher, recipe.student)
        )
    )
    return [
        _step(job, "export", "ONNX, simplified, parity on real images", 2 * EXPORT_SECONDS, size * 0.8),
        _step(job, "quantize", f"INT8, {calibration} training images", quantize + EXPORT_SECONDS, size * 0.2),
        _step(
            job, "bench", f"{images['test']:,} test images, {recipe.bench.runs} latency samples", bench, 1e5
        ),
        _step(job, "report", "one HTML page", 2, 5e5),
    ]


def _training(job: Job, role: str, settings: NetworkSettings, classes: int, images: dict[str, int]) -> Step:
    train, evaluate = (
        seconds_per_image(settings.arch, classes, job.recipe.data.size, training)
        for training in (True, False)
    )
    seconds = settings.epochs * (images["train"] * train + images["validation"] * evaluate)
    size = parameter_count(build(settings.arch, classes, job.recipe.data.size)) * FLOAT_BYTES
    what = f"{settings.arch}, at most {settings.epochs} epochs of {images['train']:,} images"
    return _step(job, role, what, seconds, size * (1 + CHECKPOINT_COPIES))


def _step(job: Job, name: str, what: str, seconds: float, size: float) -> Step:
    manifests = {
        "prepare": job.run.data / "manifest.json",
        "teach": job.run.role("teacher") / "manifest.json",
        "label": job.run.soft_labels / "manifest.json",
        "export": job.run.onnx / "export.manifest.json",
        "quantize": job.run.onnx / "quantize.manifest.json",
        "bench": job.run.path / "bench.manifest.json",
        "report": job.run.path / "report.manifest.json",
    }
    path = manifests.get(name, job.run.role(name) / "manifest.json")
    return Step(name, what, seconds, size, done=read_manifest(path) is not None)


def _counts(listing: Listing, settings: DataSettings) -> dict[str, int]:
    """Images of each split, those that will be carved out of train included."""
    counts = dict.fromkeys(("train", "validation", "test"), 0)
    for sample in listing.samples:
        counts[sample.split] += 1
    fractions = {"validation": settings.validation_fraction, "test": settings.test_fraction}
    total = counts["train"]
    for split in listing.carve:
        counts[split] = round(total * fractions[split])
        counts["train"] -= counts[split]
    return counts
