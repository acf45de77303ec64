"""`kdtool compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from kdtool.cli.job import TrainingOptions
from kdtool.cli.options import comparison_options, json_option


@click.command()
@comparison_options
@json_option
def command(recipes: str, seeds: int, as_json: bool, **options: Any) -> None:
    """Train several recipes on the same photographs and say which one helps.

    DATA is a folder of class folders (with or without train/validation/test), a CSV or JSONL
    manifest, or the name of a data set such as imagenette. The default is the embedded digits.

    All students learn from the teacher of the first recipe, with the same seeds. Each student has a
    baseline: the same student, trained on the same budget without a teacher. The validation split
    decides which recipe is the best; the test split is read once, after all trainings. The results
    are written to compare.json, compare.csv, compare-trainings.csv and compare.png. After an
    interruption, the same command continues.
    """
    from kdtool.core.errors import GateError
    from kdtool.machine.packages import require_training
    from kdtool.machine.terminal import open_screen
    from kdtool.runs.lock import run_lock

    require_training("compare")
    names = _names(recipes)
    choice = TrainingOptions(recipe=names[0], **options)

    from kdtool import pipeline
    from kdtool.compare.entries import check_entries, load_entries
    from kdtool.compare.record import require_same_students
    from kdtool.compare.stage import RESULT, compare
    from kdtool.compare.table import print_comparison

    screen, overrides = open_screen(), choice.as_overrides()
    job = pipeline.start(choice.data, choice.out, names[0], overrides, choice.seed, screen, comparison=True)
    job = pipeline.check(job, student=False, download=not choice.dry_run)
    entries = load_entries(job.recipe, names, overrides, screen)
    check_entries(job.run, entries, download=not choice.dry_run)
    require_same_students(job.run, entries)
    wanted = range(job.seed, job.seed + seeds)
    if choice.dry_run:
        from kdtool.compare.plan import print_comparison_plan

        print_comparison_plan(job, entries, wanted)
        return
    with run_lock(job.run.path):
        result = compare(job, entries, wanted, rescan=choice.data is not None)
    if as_json:
        click.echo((job.run.path / RESULT).read_text("utf-8"), nl=False)
    else:
        print_comparison(result)
        click.echo(f"Written: {job.run.path / RESULT}, with the table in .csv and the figure in .png")
    failed = [row.name for row in (*result.recipes, *result.baselines) if row.failed]
    if failed:
        raise GateError(
            f"Trainings of {', '.join(failed)} failed.",
            "The reasons are above. Mend the recipe in a copy with another name, or omit it in --recipes.",
        )


def _names(recipes: str) -> list[str]:
    """Return the recipes that --recipes lists, after checking that each exists."""
    from kdtool.core.errors import UsageError
    from kdtool.recipe.files import shipped_recipes

    names = [name.strip() for name in recipes.split(",") if name.strip()]
    if not names:
        raise UsageError("--recipes names no recipe.", "List them with: kdtool recipes")
    shipped = shipped_recipes()
    unknown = [repr(name) for name in names if name not in shipped and not Path(name).is_file()]
    if unknown:
        raise UsageError(
            f"--recipes: {', '.join(unknown)}: neither a recipe of kdtool ({', '.join(shipped)}) nor a file. "
            "Commas separate recipes, so the path of a file must not contain a comma.",
            "List them with: kdtool recipes",
        )
    return names
