"""`kdtool report`."""

from __future__ import annotations

from pathlib import Path

import click

from kdtool.cli.options import run_argument


@click.command()
@run_argument
@click.option(
    "--beside",
    multiple=True,
    metavar="RUN",
    type=click.Path(file_okay=False, path_type=Path),
    help="Another run to compare with in a table; may be repeated.",
)
def command(run: Path | None, beside: tuple[Path, ...]) -> None:
    """Write the report page of a run.

    RUN is the folder of a run; the default is the newest run under artifacts/. The page is one HTML
    file that needs no network.
    """
    from kdtool.cli.job import open_run
    from kdtool.machine.terminal import open_screen
    from kdtool.pipeline import report
    from kdtool.runs.folder import RunFolder

    with open_run(run, (), open_screen()) as job:
        click.echo(report(job, [RunFolder(other) for other in beside]))
