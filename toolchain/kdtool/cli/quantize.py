"""`kdtool quantize`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from kdtool.cli.options import set_option
from kdtool.core.errors import UsageError
from kdtool.recipe.choices import Calibration, Int8Target


@click.command()
@click.argument("model", required=False, metavar="[RUN | FILE.onnx]", type=click.Path(path_type=Path))
@click.option(
    "--data",
    metavar="DATA",
    help="Photographs for FILE.onnx: to calibrate on and, if they have labels, to measure the accuracy on.",
)
@click.option(
    "--like",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="ONNX file whose classes and preprocessing are used for FILE.onnx if it states none.",
)
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="File to write for FILE.onnx.  [default: FILE.int8.onnx]",
)
@click.option(
    "--target",
    type=click.Choice([target.value for target in Int8Target]),
    help="Processor that will run the model; auto: this one.  [default: quantize.target]",
)
@click.option(
    "--calibration",
    type=click.Choice([method.value for method in Calibration]),
    help="Method that chooses the range of each activation.  [default: quantize.calibration]",
)
@click.option(
    "--max-drop",
    type=click.FloatRange(0, 100),
    metavar="POINTS",
    help="Largest loss of validation accuracy, in percentage points.  [default: quantize.max_drop]",
)
@click.option(
    "--search/--no-search",
    default=None,
    help="Try several INT8 models, print a table of them and keep the fastest within --max-drop.  "
    "[default: quantize.search]",
)
@click.option(
    "--finetune",
    type=click.IntRange(0, 100),
    metavar="EPOCHS",
    help="If calibration alone loses too much accuracy, fine-tune the student for INT8 with the teacher's "
    "soft labels; 0: do not.  [default: quantize.finetune]",
)
@set_option
def command(
    model: Path | None,
    data: str | None,
    like: Path | None,
    out: Path | None,
    target: str | None,
    calibration: str | None,
    max_drop: float | None,
    search: bool | None,
    finetune: int | None,
    overrides: tuple[str, ...],
) -> None:
    """Quantize exported models, or any ONNX classifier, to INT8 within a limit for the loss of accuracy.

    RUN is the folder of a run; the default is the newest run under artifacts/. Calibration reads
    training images. If a model loses more validation accuracy than --max-drop, its most sensitive
    layers are kept in FP32, at most quantize.float_layers of them. If it still loses too much, it is
    not written and the exit code is 6. The options are recorded in the recipe of the run and hold
    until other values are given.

    FILE.onnx is any image classifier in float32, (N, 3, H, W), and needs --data. Calibration reads
    its training split; the accuracy is measured on its validation split. Without splits, at most half
    of the photographs are for calibration, and the accuracy is measured on the others.
    """
    from kdtool.machine.packages import require_training

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
    changes = [*overrides, *changes]
    if model is not None and (model.suffix == ".onnx" or model.is_file()):
        click.echo(_quantize_file(model, data, like, out, changes))
        return
    file_options = {"--data": data, "--like": like, "--out": out}
    unused = [name for name, value in file_options.items() if value is not None]
    if unused:
        raise UsageError(
            f"{', '.join(unused)}: no effect on a run, which has its own photographs.",
            "Leave it out, or name an ONNX file: kdtool quantize FILE.onnx --data DATA",
        )
    from kdtool import pipeline
    from kdtool.cli.job import open_run
    from kdtool.machine.terminal import open_screen

    with open_run(model, changes, open_screen()) as job:
        pipeline.quantize(job, pipeline.open_data(job))
        for role in ("teacher", "student"):
            if job.run.onnx_model(role, "int8").is_file():
                click.echo(job.run.onnx_model(role, "int8"))


def _quantize_file(
    file: Path, data: str | None, like: Path | None, out: Path | None, changes: Sequence[str]
) -> Path:
    from kdtool.api.arguments import info_from_like
    from kdtool.api.quantize import quantize
    from kdtool.recipe.files import override_recipe
    from kdtool.recipe.settings import Recipe

    if data is None:
        raise UsageError(
            f"{file}: quantization needs photographs to calibrate on.",
            f"Name them: kdtool quantize {file} --data DATA",
        )
    unused = [change for change in changes if not change.startswith("quantize.")]
    if unused:
        raise UsageError(
            f"--set {unused[0]}: no effect on a file; allowed: fields of the section quantize.",
            "Example: --set quantize.float_layers=0",
        )
    settings = override_recipe(Recipe(name="file"), changes).quantize
    if settings.search or settings.finetune:
        raise UsageError("--search and --finetune need a run, not a file.", "Leave them out, or name a run.")
    similar = info_from_like(like) if like is not None else None
    arguments = settings.model_dump(exclude={"search", "finetune", "finetune_lr"})
    return quantize(
        file,
        data,
        out=out,
        classes=similar.classes if similar else None,
        preprocess=similar.preprocess if similar else None,
        **arguments,
    ).path
