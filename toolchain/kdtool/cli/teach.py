"""`kdtool teach`."""

from __future__ import annotations

from typing import Any

import click

from kdtool.cli.job import TrainingOptions, open_job
from kdtool.cli.options import training_options


@click.command()
@training_options
def command(**options: Any) -> None:
    """Fine-tune the teacher.

    DATA is a folder of class folders (with or without train/validation/test), a CSV or JSONL
    manifest, or the name of a data set such as imagenette. The default is the embedded digits.

    The weights with the best validation accuracy are kept. If a finished teacher gets more epochs
    (--set teacher.epochs=30), its training continues.
    """
    from kdtool import pipeline
    from kdtool.machine.launch import process_rank
    from kdtool.machine.packages import require_training
    from kdtool.machine.terminal import open_screen

    require_training("teach")
    choice = TrainingOptions(**options)
    job = open_job(choice, open_screen(), student=False)
    if choice.dry_run:
        if process_rank():
            return
        from kdtool.plan import print_plan

        print_plan(job, ("teach",), baseline=False)
        return
    with pipeline.locked(job):
        pipeline.teach(job, pipeline.prepare(job))
    if process_rank() == 0:
        click.echo(job.run.weights("teacher"))
