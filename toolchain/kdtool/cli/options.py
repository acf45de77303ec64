"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from kdtool.core.checks import LARGEST_SEED
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
    help="Name of a recipe of kdtool, or a TOML file.  [default: paper, or digits without DATA]",
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
    type=click.IntRange(0, LARGEST_SEED),
    help="Seed of the splits, the initial weights and the order of images.  [default: that of the run, or 0]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Print the plan with estimated time and disk, and stop."
)


teacher_options = (
    click.option("--teacher", metavar="NAME|FILE", help="Network of the teacher, or file of a trained one."),
    click.option(
        "--teacher-weights",
        metavar="imagenet|none|FILE",
        help="Initial weights of the teacher: trained on ImageNet, none (random), or from a file.",
    ),
)
student_weights_option = click.option(
    "--student-weights",
    metavar="imagenet|none|FILE",
    help="Initial weights of the student: trained on ImageNet, none (random), or from a file.",
)
unlabelled_option = click.option(
    "--unlabelled",
    metavar="FOLDER",
    help="Photographs without labels, at any depth, for the student: the teacher's answers are their labels.",
)
precision_option = click.option(
    "--precision",
    type=click.Choice([*(precision.value for precision in Precision), "auto"]),
    help="Arithmetic of training; auto: bfloat16 if this processor has it, because it is faster.  "
    "[default: that of the run or of the recipe, otherwise auto]",
)
compile_option = click.option(
    "--compile", is_flag=True, help="Compile the networks with torch.compile before training."
)
cache_option = click.option(
    "--cache",
    type=click.Choice([place.value for place in Cache]),
    help="Where to keep decoded training images; none: decode the photographs again in each epoch and for "
    "calibration.  [default: that of the run, otherwise auto: on disk if they fit]",
)
scan_options = (
    click.option("--skip-bad", is_flag=True, help="Leave out unreadable photographs instead of stopping."),
    click.option("--allow-leaks", is_flag=True, help="Accept the same photograph in two splits."),
)


def training_options(command: Command) -> Command:
    """Add the options of the commands that read photographs and train: run, teach, distill."""
    first = (data_argument, out_option, recipe_option, set_option, seed_option)
    last = (cache_option, precision_option, compile_option, dry_run_option)
    return _with(command, (*first, *teacher_options, *scan_options, *last))


def student_options(command: Command) -> Command:
    """Add the further options of the commands that train a student: run, distill."""
    student = click.option("--student", metavar="NAME", help="Network of the student.")
    baseline = click.option(
        "--baseline", is_flag=True, help="Also train the same student without the teacher."
    )
    views = click.option(
        "--views",
        type=click.IntRange(1),
        metavar="M",
        help="Augmented views of each image, each with soft labels.  [default: that of the run, or 16]",
    )
    return _with(command, (student, student_weights_option, unlabelled_option, views, baseline))


def comparison_options(command: Command) -> Command:
    """Add the options of compare, except --json."""
    first = (
        data_argument,
        click.option(
            "--recipes",
            required=True,
            metavar="NAME|FILE,…",
            help="Recipes of kdtool or TOML files, separated by commas. The first one describes the data and "
            "the teacher.",
        ),
        click.option(
            "--seeds",
            type=click.IntRange(1),
            default=3,
            show_default=True,
            help="Number of trainings of each student. Fewer than 3 are no evidence.",
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
            type=click.IntRange(0, LARGEST_SEED),
            help="First seed; the splits and the teacher have it too.  [default: that of the folder, or 0]",
        ),
    )
    networks = (*teacher_options, student_weights_option, unlabelled_option)
    return _with(command, (*first, *networks, *scan_options, cache_option, dry_run_option))


def _with(command: Command, options: Sequence[Callable[[Command], Command]]) -> Command:
    """Add `options` to a command, whose help lists them in this order."""
    for option in reversed(options):
        command = option(command)
    return command
