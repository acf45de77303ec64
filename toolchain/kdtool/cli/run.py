"""`kdtool run`."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from kdtool.cli.job import TrainingOptions, open_job
from kdtool.cli.options import student_options, training_options

if TYPE_CHECKING:
    from kdtool.core.screen import Screen
    from kdtool.runs.record import Job


@click.command()
@training_options
@student_options
@click.option("--check", is_flag=True, help="Exit with code 6 unless the verdict is PASS.")
def command(check: bool, **options: Any) -> None:
    """Run every stage, from photographs to a small, proven model.

    DATA is a folder of class folders (with or without train/validation/test), a CSV or JSONL
    manifest, or the name of a data set such as imagenette. The default is the embedded digits.

    Stages that are complete with the same inputs are skipped. After an interruption, the same command
    therefore continues.
    """
    from kdtool.core.screen import Held
    from kdtool.machine.launch import process_rank
    from kdtool.machine.packages import require_training
    from kdtool.machine.terminal import open_screen

    require_training("run")
    choice, screen = TrainingOptions(**options), open_screen()
    later = Held()
    job = replace(open_job(choice, later, student=True), screen=screen)  # its errors come at once
    if not process_rank():
        _announce(choice, job, screen)
    later.tell(screen)
    if choice.dry_run:
        if process_rank():
            return
        from kdtool.plan import print_plan

        print_plan(job, ("teach", "distill", "export", "quantize", "bench", "report"), choice.baseline)
        return
    from kdtool.benchmark.tables.models import print_table
    from kdtool.core.errors import GateError
    from kdtool.data.sources import digits
    from kdtool.pipeline import locked, run_all
    from kdtool.results.bench import read_bench

    with locked(job):
        failed = run_all(job, choice.baseline)
    if process_rank():
        return  # the first process prints the results
    result = read_bench(job.run.bench)
    print_table(result, run=job.run.path)
    if job.source == digits.NAME:
        click.echo(
            "These are the embedded digits: they show that every stage works, "
            "but are no evidence for the claim."
        )
    click.echo(f"Report: {job.run.report}")
    if failed is not None:
        raise failed
    if check and result.claim.verdict != "PASS":
        raise GateError(f"The verdict is {result.claim.verdict}.", "The table above says by how much.")


def _announce(choice: TrainingOptions, job: Job, screen: Screen) -> None:
    """Say what a new run without a recipe will train, how long that takes, and what was measured best."""
    from kdtool.data.sources import digits
    from kdtool.data.sources.torchvision import missing
    from kdtool.plan import costs_of
    from kdtool.train.loop.fit import clock

    recipe = job.recipe
    if choice.recipe is not None or job.source == digits.NAME or job.run.record.is_file():
        return
    time = "for a time that is known once the data set is downloaded"
    if missing(job.source) is None:
        cost = costs_of(job.source, recipe)
        time = f"about {clock(cost.rest + recipe.student.epochs * cost.epoch)} here"
    screen.say(
        f"Training {recipe.student.arch} from {_start(recipe.student.weights)}, taught by "
        f"{recipe.teacher.arch} ({_start(recipe.teacher.weights)}), at {recipe.data.size} pixels as recipe "
        f"{recipe.name} says: {time}. What was measured best for photographs of your own, within a time that "
        f"you give: kdtool init {shlex.quote(str(choice.data))} --time 1h"
    )


def _start(weights: str) -> str:
    return {"none": "scratch", "imagenet": "ImageNet weights"}.get(weights, "a file of weights")
