"""`kdtool export`."""

from __future__ import annotations

from pathlib import Path

import click

from kdtool.cli.options import run_argument, set_option
from kdtool.core.errors import UsageError


@click.command()
@run_argument
@click.option("--onnx", is_flag=True, help="Write ONNX: one file a network, batch dynamic, simplified.")
@set_option
def command(run: Path | None, onnx: bool, overrides: tuple[str, ...]) -> None:
    """Export the trained networks, parity proven.

    RUN is the folder of a run; without it the newest under artifacts/. Torch and ONNX Runtime must
    give the same logits on real images, else nothing is written and the exit code is 6.
    """
    if not onnx:
        raise UsageError("Export to which format? Allowed: --onnx.", "kdtool export --onnx")
    from kdtool import pipeline
    from kdtool.cli.job import open_run
    from kdtool.cli.screen import open_screen
    from kdtool.core.extras import require_training

    require_training("export")
    with open_run(run, overrides, open_screen()) as job:
        pipeline.export(job, pipeline.open_data(job))
        for role in job.run.trained_roles():
            click.echo(job.run.onnx_model(role))
