"""`kdtool quantize`."""

from __future__ import annotations

from pathlib import Path

import click

from kdtool.cli.options import run_argument, set_option

TARGETS = ("auto", "x86-avx2", "x86-vnni", "arm-dotprod", "arm", "web")
METHODS = ("minmax", "percentile", "entropy", "mse")


@click.command()
@run_argument
@click.option(
    "--target",
    type=click.Choice(TARGETS),
    help="The processor that will run the model; auto is this one.  [default: quantize.target]",
)
@click.option(
    "--calibration",
    type=click.Choice(METHODS),
    help="How ranges follow from the values seen.  [default: quantize.calibration]",
)
@click.option(
    "--max-drop",
    type=click.FloatRange(0, 100),
    metavar="POINTS",
    help="Largest loss of validation accuracy.  [default: quantize.max_drop]",
)
@click.option(
    "--search/--no-search",
    default=None,
    help="Try the sensible INT8 models, print the Pareto table and keep the fastest within --max-drop.  "
    "[default: quantize.search]",
)
@click.option(
    "--finetune",
    type=click.IntRange(0, 100),
    metavar="EPOCHS",
    help="Where calibration loses too much: fine-tune the student for INT8, guided by the teacher's "
    "stored answers; 0: not.  [default: quantize.finetune]",
)
@set_option
def command(
    run: Path | None,
    target: str | None,
    calibration: str | None,
    max_drop: float | None,
    search: bool | None,
    finetune: int | None,
    overrides: tuple[str, ...],
) -> None:
    """Quantize the exported models to INT8, accuracy guarded.

    RUN is the folder of a run; without it the newest under artifacts/. Calibrated on training
    images. Where a model loses more validation accuracy than --max-drop points, its most sensitive
    layers go back to float, at most quantize.float_layers; if that is not enough it is not written
    and the exit code is 6. What is given here is recorded in the run's recipe and holds from then
    on, until something else is given.
    """
    from kdtool import pipeline
    from kdtool.cli.job import open_run
    from kdtool.machine.extras import require_training
    from kdtool.machine.terminal import open_screen

    require_training("quantize")
    fields = {
        "target": target,
        "calibration": calibration,
        "max_drop": max_drop,
        "search": search,
        "finetune": finetune,
    }
    changes = [
        f"quantize.{field}={str(value).lower()}" for field, value in fields.items() if value is not None
    ]
    with open_run(run, [*overrides, *changes], open_screen()) as job:
        pipeline.quantize(job, pipeline.open_data(job))
        for role in ("teacher", "student"):
            if job.run.onnx_model(role, "int8").is_file():
                click.echo(job.run.onnx_model(role, "int8"))
