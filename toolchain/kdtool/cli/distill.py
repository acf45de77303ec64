"""`kdtool distill`."""

from __future__ import annotations

from typing import Any

import click

from kdtool.cli.job import TrainingOptions, open_job
from kdtool.cli.options import student_options, training_options


@click.command()
@training_options
@student_options
def command(**options: Any) -> None:
    """Distill the student from the teacher.

    DATA is a folder of class folders (with or without train/validation/test), a CSV or JSONL
    manifest, or the name of a data set such as imagenette.

    Trains the teacher first if the run has none; --teacher FILE brings a trained one. Without
    DATA it goes on with the run at --out, or the newest, on its photographs as prepared.
    """
    from kdtool import pipeline
    from kdtool.machine.launch import process_rank
    from kdtool.machine.packages import require_training
    from kdtool.machine.terminal import open_screen

    require_training("distill")
    choice = TrainingOptions(**options)
    job = open_job(choice, open_screen(), student=True, continue_newest=True)
    if choice.dry_run:
        if process_rank():
            return
        from kdtool.plan import print_plan

        print_plan(job, ("teach", "distill"), choice.baseline)
        return
    with pipeline.locked(job):
        prepared = pipeline.prepare(job, rescan=choice.data is not None)
        pipeline.teach(job, prepared)
        pipeline.distill(job, prepared, choice.baseline)
    if process_rank() == 0:
        click.echo(job.run.weights("student"))
