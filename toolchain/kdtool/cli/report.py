"""`kdtool report`."""

from __future__ import annotations

from pathlib import Path

import click

from kdtool.cli.options import run_argument


@click.command()
@run_argument
def command(run: Path | None) -> None:
    """Write the report page of a run.

    RUN is the folder of a run; without it the newest under artifacts/. The page is one HTML file
    that needs no network.
    """
    from kdtool.cli.job import open_run
    from kdtool.cli.screen import open_screen
    from kdtool.pipeline import report

    with open_run(run, (), open_screen()) as job:
        click.echo(report(job))
