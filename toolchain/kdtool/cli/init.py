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
    help="File of the recipe.  [default: <name of DATA>.toml]",
)
@click.option("--force", is_flag=True, help="Replace a file that is there.")
def command(data: str, out: Path | None, force: bool) -> None:
    """Look at photographs and write a recipe for them, with a reason beside most lines.

    DATA is a folder of class folders, or a CSV or JSONL manifest. Nothing is trained or decoded; every
    image is opened, for its size.
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
            f"{target} is there already.", "Choose another with --out, or replace it with --force."
        )
    found = survey(listing, open_screen())
    write_text(target, recipe_text(target.stem, found))
    for line in found.advice:
        click.echo(f"- {line}")
    click.echo(f"Recipe: {target}")
    click.echo(f"Next: kdtool run {data} --recipe {target} --dry-run")
