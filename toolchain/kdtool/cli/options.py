"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from kdtool.recipe.choices import Cache, Precision

Command = TypeVar("Command", bound=Callable[..., Any])

data_argument = click.argument("data", required=False, metavar="[DATA]")
run_argument = click.argument(
    "run", required=False, metavar="[RUN]", type=click.Path(file_okay=False, path_type=Path)
)
out_option = click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the run.  [default: artifacts/<recipe>]",
)
recipe_option = click.option(
    "--recipe",
    metavar="NAME|FILE",
    help="A recipe of kdtool or a TOML file.  [default: paper, or digits without DATA]",
)
set_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="SECTION.KEY=VALUE",
    help="Change a field of the recipe; may be repeated.",
)
seed_option = click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    help="Seed of splits, weights and order.  [default: the run's, or 0]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Print the plan with estimated time and disk, and stop."
)


teacher_options = (
    click.option("--teacher", metavar="NAME|FILE", help="Network of the teacher, or a trained one to use."),
    click.option(
        "--teacher-weights",
        metavar="imagenet|none|FILE",
        help="What the teacher starts from: ImageNet, scratch, or a file of weights.",
    ),
)
precision_option = click.option(
    "--precision",
    type=click.Choice([*(precision.value for precision in Precision), "auto"]),
    help="Of the arithmetic in training; auto: bfloat16 where this processor has it, which is faster.  "
    "[default: the run's, the recipe's, or auto]",
)
compile_option = click.option(
    "--compile", is_flag=True, help="Translate the networks by torch.compile before training."
)
cache_option = click.option(
    "--cache",
    type=click.Choice([place.value for place in Cache]),
    help="Where decoded training pictures are kept; none decodes the photographs in every epoch, "
    "and for calibration.  "
    "[default: the run's, or auto: disk where they fit]",
)
scan_options = (
    click.option("--skip-bad", is_flag=True, help="Leave unreadable images out instead of stopping."),
    click.option("--allow-leaks", is_flag=True, help="Accept the same picture in two splits."),
)


def training_options(command: Command) -> Command:
    """The options of the commands that read photographs and train: run, teach, distill."""
    own = (data_argument, out_option, recipe_option, set_option, seed_option)
    last = (cache_option, precision_option, compile_option, dry_run_option)
    return _with(command, (*own, *teacher_options, *scan_options, *last))


def student_options(command: Command) -> Command:
    """The further options of the commands that train a student: run, distill."""
    student = click.option("--student", metavar="NAME", help="Network of the student.")
    baseline = click.option(
        "--baseline", is_flag=True, help="Also train the same student without the teacher."
    )
    views = click.option(
        "--views",
        type=click.IntRange(1),
        metavar="M",
        help="Augmented views of each picture that the teacher answers once.  [default: the run's, or 16]",
    )
    return _with(command, (student, views, baseline))


def comparison_options(command: Command) -> Command:
    """The options of compare, but for --json."""
    own = (
        data_argument,
        click.option(
            "--recipes",
            required=True,
            metavar="NAME|FILE,…",
            help="Recipes of kdtool or TOML files, with commas between. The first decides on photographs "
            "and teacher.",
        ),
        click.option(
            "--seeds",
            type=click.IntRange(1),
            default=3,
            show_default=True,
            help="Trainings of each student. Fewer than 3 are no evidence.",
        ),
        click.option(
            "--out",
            type=click.Path(file_okay=False, path_type=Path),
            default=Path("artifacts") / "compare",
            show_default=True,
            help="Folder of the comparison.",
        ),
        click.option(
            "--set",
            "overrides",
            multiple=True,
            metavar="SECTION.KEY=VALUE",
            help="Change a field of every recipe; may be repeated.",
        ),
        click.option(
            "--seed",
            type=click.IntRange(0, 2**32 - 1),
            help="The first seed, also that of splits and teacher.  [default: the folder's, or 0]",
        ),
    )
    return _with(command, (*own, *teacher_options, *scan_options, cache_option, dry_run_option))


def _with(command: Command, options: Sequence[Callable[[Command], Command]]) -> Command:
    """The command with `options`, listed in this order."""
    for option in reversed(options):
        command = option(command)
    return command
