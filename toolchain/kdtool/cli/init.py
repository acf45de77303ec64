"""`kdtool init`."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kdtool.cli.options import unlabelled_option
from kdtool.core.errors import UsageError

if TYPE_CHECKING:
    from kdtool.core.screen import Screen
    from kdtool.data.starter import Survey
    from kdtool.recipe.advised import Costs

UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}


class Duration(click.ParamType):  # type: ignore[type-arg]  # generic in the stubs alone
    """A time such as 90s, 20m or 1.5h, in seconds."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(s|m|min|h|d)\s*", str(value))
        if match is None or float(match[1]) <= 0:
            self.fail(f"{value!r} is no time; examples: 20m, 1h, 90s", param, ctx)
        return float(match[1]) * UNITS[match[2]]


@click.command()
@click.argument("data", metavar="DATA")
@click.option(
    "--for",
    "target",
    type=click.Choice(["phone", "web", "pi", "server"]),
    default="phone",
    show_default=True,
    help="Where the model will run.",
)
@click.option(
    "--time",
    "budget",
    type=Duration(),
    default="1h",
    show_default=True,
    help="Time that the whole run may take on this machine, such as 10m or 2h.",
)
@unlabelled_option
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write the recipe to.  [default: <name of DATA>.toml]",
)
@click.option("--force", is_flag=True, help="Replace an existing file.")
def command(
    data: str, target: str, budget: float, unlabelled: str | None, out: Path | None, force: bool
) -> None:
    """Write the recipe that was measured best for photographs like these, within a budget of time.

    DATA is a folder of class folders, or a CSV or JSONL manifest. Nothing is trained and no photograph is
    decoded; each one is opened to read its size. A few steps of the networks are timed on this machine.
    """
    from kdtool.core.files import write_text
    from kdtool.data.sources import load_listing
    from kdtool.data.sources.unlabelled import PREFIX, load
    from kdtool.data.starter import recipe_text, survey
    from kdtool.machine.terminal import open_screen
    from kdtool.recipe.advised import plan, sizes_for

    listing = load_listing(data)
    name = Path(data).resolve().name or "photographs"
    target_file = out or Path(f"{Path(name).stem if Path(data).is_file() else name}.toml")
    if target_file.exists() and not force:
        raise UsageError(
            f"{target_file} exists already.", "Choose another file with --out, or replace it with --force."
        )
    screen = open_screen()
    if unlabelled:
        unlabelled = str(Path(unlabelled).resolve())
        load(PREFIX + unlabelled)  # it has photographs
    surveyed = survey(listing, screen, unlabelled or "")
    costs = _costs(data, surveyed, screen)
    chosen = plan(sizes_for(target, surveyed.sides[1]), budget, costs)
    write_text(target_file, recipe_text(target_file.stem, surveyed, target, chosen))
    for line in surveyed.advice:
        click.echo(f"- {line}")
    _say_cost(surveyed, chosen.size, chosen.epochs, chosen.seconds, budget, fits=chosen.fits)
    click.echo(f"Recipe: {target_file}")
    click.echo(f"Next: kdtool run {data} --recipe {target_file} --dry-run")


def _costs(data: str, surveyed: Survey, screen: Screen) -> Callable[[int, int], Costs] | None:
    """Return a function that estimates a recipe on this machine; None where nothing can be trained."""
    from kdtool.machine.packages import missing_for_training

    if missing_for_training():
        return None
    from kdtool.data.starter import advised_of
    from kdtool.plan import costs_of
    from kdtool.recipe.advised import Plan, advised_recipe

    def costs(size: int, epochs: int) -> Costs:
        screen.say(f"init: timing the networks at {size} pixels.")
        return costs_of(data, advised_recipe("init", advised_of(surveyed, Plan(size, epochs))))

    return costs


def _say_cost(
    surveyed: Survey, size: int, epochs: int, seconds: float | None, budget: float, *, fits: bool
) -> None:
    if seconds is None:
        click.echo(
            "This machine cannot train (kdtool[train] is not installed), so the time is not estimated."
        )
        return
    from kdtool.plan import gpu_seconds
    from kdtool.train.loop.fit import clock

    gpu = clock(gpu_seconds(surveyed.images, epochs))
    click.echo(
        f"Cost: {epochs} epochs at {size} pixels, about {clock(seconds)} for the whole run on this machine "
        f"({clock(budget)} given); with a GPU about {gpu} for the training, since views take time to make."
    )
    if not fits:
        click.echo("That is more than the given time: fewer photographs or a faster machine would help.")
