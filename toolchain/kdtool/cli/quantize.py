"""`kdtool quantize`."""

from __future__ import annotations

from pathlib import Path

import click

from kdtool.cli.options import run_argument, set_option


@click.command()
@run_argument
@set_option
def command(run: Path | None, overrides: tuple[str, ...]) -> None:
    """Quantize the exported models to INT8, accuracy guarded.

    RUN is the folder of a run; without it the newest under artifacts/. Calibrated on training
    images; a model that loses more validation accuracy than quantize.max_drop points is not
    written and the exit code is 6.
    """
    from kdtool import pipeline
    from kdtool.cli.job import open_run
    from kdtool.cli.screen import open_screen
    from kdtool.core.extras import require_training

    require_training("quantize")
    with open_run(run, overrides, open_screen()) as job:
        pipeline.quantize(job, pipeline.open_data(job))
        for role in ("teacher", "student"):
            if job.run.onnx_model(role, "int8").is_file():
                click.echo(job.run.onnx_model(role, "int8"))
