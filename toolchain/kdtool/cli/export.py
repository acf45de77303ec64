"""`kdtool export`."""

from __future__ import annotations

from pathlib import Path

import click

from kdtool.cli.options import run_argument, set_option
from kdtool.core.errors import UsageError

COMPATIBLE = 17  # with it goes IR 8; runtimes of the web and of phones load both


@click.command()
@run_argument
@click.option("--onnx", is_flag=True, help="Write ONNX: one file a network, batch dynamic, simplified.")
@click.option("--opset", type=click.IntRange(17, 23), help="Operator set.  [default: export.opset]")
@click.option("--compat", is_flag=True, help="What old runtimes load: opset 17 and IR 8.")
@click.option("--fixed-batch", is_flag=True, help="A batch of one, written into the graph.")
@click.option("--uint8", is_flag=True, help="Also a model that takes pixels and normalizes them itself.")
@click.option("--ort", is_flag=True, help="Also ONNX Runtime's format for phones, and its operators.")
@set_option
def command(
    run: Path | None,
    onnx: bool,
    opset: int | None,
    compat: bool,
    fixed_batch: bool,
    uint8: bool,
    ort: bool,
    overrides: tuple[str, ...],
) -> None:
    """Export the trained networks, parity proven.

    RUN is the folder of a run; without it the newest under artifacts/. Torch and ONNX Runtime must
    give the same logits on real images, else nothing is written and the exit code is 6. What is given
    here is recorded in the run's recipe.
    """
    if not onnx:
        raise UsageError("Export to which format? Allowed: --onnx.", "kdtool export --onnx")
    if compat and opset is not None and opset > COMPATIBLE:
        raise UsageError(f"--compat is opset {COMPATIBLE}, --opset is {opset}.", "Give one of them.")
    from kdtool import pipeline
    from kdtool.cli.job import open_run
    from kdtool.machine.packages import require_training
    from kdtool.machine.terminal import open_screen

    require_training("export")
    changes = [f"export.opset={COMPATIBLE if compat else opset}"] if compat or opset is not None else []
    given = {"fixed_batch": fixed_batch, "uint8": uint8, "ort": ort}
    changes += [f"export.{field}=true" for field, wanted in given.items() if wanted]
    with open_run(run, [*overrides, *changes], open_screen()) as job:
        pipeline.export(job, pipeline.open_data(job))
        for role in job.run.trained_roles():
            click.echo(job.run.onnx_model(role))
