"""`kdtool data`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from kdtool.cli.options import data_argument, json_option, recipe_option, set_option
from kdtool.core.checks import LARGEST_SEED

if TYPE_CHECKING:
    from kdtool.data.overview import Overview


@click.group()
def command() -> None:
    """Check the photographs before training."""


@command.command()
@data_argument
@recipe_option
@set_option
@click.option(
    "--seed",
    type=click.IntRange(0, LARGEST_SEED),
    default=0,
    show_default=True,
    help="Seed of the splits that are taken from train.",
)
@click.option("--skip-bad", is_flag=True, help="Count unreadable photographs as left out, not as findings.")
@click.option("--allow-leaks", is_flag=True, help="Accept the same photograph in two splits.")
@json_option
def check(
    data: str | None,
    recipe: str | None,
    overrides: tuple[str, ...],
    seed: int,
    skip_bad: bool,
    allow_leaks: bool,
    as_json: bool,
) -> None:
    """Decode every photograph and list all findings at once.

    DATA is a folder of class folders (with or without train/validation/test), a CSV or JSONL manifest,
    or the name of a data set such as imagenette. The default is the embedded digits. The exit code is 3 if
    a finding prevents training.
    """
    from kdtool.core.errors import DataError
    from kdtool.data.findings.finding import ways_out
    from kdtool.data.notices import tell
    from kdtool.data.overview import overview
    from kdtool.data.scan import scan
    from kdtool.data.sources import default_recipe, load_listing
    from kdtool.machine.terminal import open_screen
    from kdtool.recipe.files import load_recipe

    flags = {"data.skip_bad=true": skip_bad, "data.allow_leaks=true": allow_leaks}
    wanted = [*overrides, *(override for override, given in flags.items() if given)]
    settings = load_recipe(recipe or default_recipe(data), wanted).data
    screen = open_screen()
    listing = load_listing(data)
    tell(listing, settings, screen)
    scanned = scan(listing, settings, seed, screen)
    result = overview(scanned)
    click.echo(json.dumps(result.to_json(), indent=2, ensure_ascii=False) if as_json else _text(result))
    if scanned.fatal:
        count = sum(finding.fatal for finding in scanned.findings)
        raise DataError(
            f"{listing.source}: {count} finding(s) prevent training.",
            ways_out(scanned.findings),
        )


def _text(result: Overview) -> str:
    from kdtool.core.text import printable
    from kdtool.data.findings.finding import describe

    splits = list(result.counts)
    width = max(len("class"), *(len(printable(label)) for label in result.classes), len("total"))
    lines = [f"{'class':{width}}" + "".join(f"{split:>12}" for split in splits)]
    for label in result.classes:
        counts = (result.counts[split][label] for split in splits)
        lines.append(f"{printable(label):{width}}" + "".join(f"{count:12,}" for count in counts))
    totals = (sum(result.counts[split].values()) for split in splits)
    lines.append(f"{'total':{width}}" + "".join(f"{total:12,}" for total in totals))
    lines.append("")
    lines.append(f"Shortest side: {', '.join(map(str, result.sides))} pixels (smallest, median, largest)")
    lines.append(f"Modes: {_counted(result.modes)}")
    lines.append(f"Formats: {_counted(result.formats)}")
    lines.append(f"Repeated within a split: {result.repeated:,}")
    lines.append(f"Left out: {result.left_out:,}")
    lines.append(f"Ignored: {_counted(result.ignored) or 'nothing'}")
    lines.append("")
    lines.append(describe(result.findings) or "No findings.")
    return "\n".join(lines)


def _counted(counts: dict[str, int]) -> str:
    from kdtool.core.text import printable

    return ", ".join(f"{count:,} × {printable(name)}" for name, count in counts.items())
