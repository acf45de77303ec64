"""`kdtool export`."""

from __future__ import annotations

from pathlib import Path

import click

from kdtool.cli.options import run_argument, set_option
from kdtool.core.errors import UsageError

COMPATIBLE = 17  # this opset goes with IR 8; runtimes of the web and of phones load both


@click.command()
@run_argument
@click.option(
    "--onnx", is_flag=True, help="Write ONNX: one simplified file for each network, with a free batch size."
)
@click.option("--opset", type=click.IntRange(17, 23), help="ONNX operator set.  [default: export.opset]")
@click.option("--compat", is_flag=True, help="Write opset 17 and IR 8, which older runtimes can load.")
@click.option("--fixed-batch", is_flag=True, help="Fix the batch size at 1 in the graph.")
@click.option(
    "--uint8", is_flag=True, help="Also write a model that takes uint8 pixels and normalizes them itself."
)
@click.option(
    "--ort", is_flag=True, help="Also write ONNX Runtime's format for phones, and the list of its operators."
)
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
    """Export the trained networks to ONNX and check that the logits stay the same.

    RUN is the folder of a run; the default is the newest run under artifacts/. Torch and ONNX Runtime
    must give the same logits on real images; otherwise nothing is written and the exit code is 6. The
    options are recorded in the recipe of the run.
    """
    if not onnx:
        raise UsageError("Export to which format? Allowed: --onnx.", "Example: kdtool export --onnx")
    if compat and opset is not None and opset > COMPATIBLE:
        raise UsageError(f"--compat means opset {COMPATIBLE}, but --opset is {opset}.", "Leave one out.")
    from kdtool import pipeline
    from kdtool.cli.job import open_run
    from kdtool.machine.packages import require_training
    from kdtool.machine.terminal import open_screen

    require_training("export")
    changes = [f"export.opset={COMPATIBLE if compat else opset}"] if compat or opset is not None else []
    flags = {"fixed_batch": fixed_batch, "uint8": uint8, "ort": ort}
    changes += [f"export.{field}=true" for field, wanted in flags.items() if wanted]
    with open_run(run, [*overrides, *changes], open_screen()) as job:
        pipeline.export(job, pipeline.open_data(job))
        for role in job.run.trained_roles():
            click.echo(job.run.onnx_model(role))
