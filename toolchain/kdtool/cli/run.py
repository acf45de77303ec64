"""`kdtool run`."""

from __future__ import annotations

from typing import Any

import click

from kdtool.cli.job import TrainingOptions, open_job
from kdtool.cli.options import student_options, training_options


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
    from kdtool.machine.launch import process_rank
    from kdtool.machine.packages import require_training
    from kdtool.machine.terminal import open_screen

    require_training("run")
    choice = TrainingOptions(**options)
    job = open_job(choice, open_screen(), student=True)
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
