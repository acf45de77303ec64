"""`kdtool init`."""

from __future__ import annotations

from pathlib import Path

import click

from kdtool.core.errors import UsageError


@click.command()
@click.argument("data", metavar="DATA")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write the recipe to.  [default: <name of DATA>.toml]",
)
@click.option("--force", is_flag=True, help="Replace an existing file.")
def command(data: str, out: Path | None, force: bool) -> None:
    """Write a recipe that suits the photographs, with a reason beside most lines.

    DATA is a folder of class folders, or a CSV or JSONL manifest. Nothing is trained and no photograph is
    decoded; each one is opened to read its size.
    """
    from kdtool.core.files import write_text
    from kdtool.data.sources import load_listing
    from kdtool.data.starter import recipe_text, survey
    from kdtool.machine.terminal import open_screen

    listing = load_listing(data)
    name = Path(data).resolve().name or "photographs"
    target = out or Path(f"{Path(name).stem if Path(data).is_file() else name}.toml")
    if target.exists() and not force:
        raise UsageError(
            f"{target} exists already.", "Choose another file with --out, or replace it with --force."
        )
    surveyed = survey(listing, open_screen())
    write_text(target, recipe_text(target.stem, surveyed))
    for line in surveyed.advice:
        click.echo(f"- {line}")
    click.echo(f"Recipe: {target}")
    click.echo(f"Next: kdtool run {data} --recipe {target} --dry-run")
