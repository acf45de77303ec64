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
    help="Of FILE.onnx: photographs to calibrate on, and to measure the accuracy on where they have labels.",
)
@click.option(
    "--like",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="FILE.onnx, if it says nothing of itself, has classes and preprocessing of this ONNX file.",
)
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Of FILE.onnx: the file to write.  [default: FILE.int8.onnx]",
)
@click.option(
    "--target",
    type=click.Choice([target.value for target in Int8Target]),
    help="The processor that will run the model; auto is this one.  [default: quantize.target]",
)
@click.option(
    "--calibration",
    type=click.Choice([method.value for method in Calibration]),
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
    """Quantize exported models, or any ONNX classifier, to INT8, accuracy guarded.

    RUN is the folder of a run; without it the newest under artifacts/. Calibrated on training
    images. Where a model loses more validation accuracy than --max-drop points, its most sensitive
    layers go back to float, at most quantize.float_layers; if that is not enough it is not written
    and the exit code is 6. What is given here is recorded in the run's recipe and holds from then
    on, until something else is given.

    FILE.onnx is any image classifier in float32, (N, 3, H, W), and needs --data: images of its training split
    calibrate, those of its validation split measure the accuracy; of photographs without splits, at most half
    calibrate and the others measure.
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
    given = {"--data": data, "--like": like, "--out": out}
    unused = [name for name, value in given.items() if value is not None]
    if unused:
        raise UsageError(
            f"{', '.join(unused)}: without effect on a run, which has its own photographs.",
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
    from kdtool.api.quantize import quantize
    from kdtool.api.stated import stated_in
    from kdtool.recipe.files import override_recipe
    from kdtool.recipe.settings import Recipe

    if data is None:
        raise UsageError(
            f"{file}: quantization needs photographs to calibrate on.",
            f"Name them: kdtool quantize {file} --data DATA",
        )
    other = [change for change in changes if not change.startswith("quantize.")]
    if other:
        raise UsageError(
            f"--set {other[0]}: without effect on a file; allowed: fields of the section quantize.",
            "Example: --set quantize.float_layers=0",
        )
    settings = override_recipe(Recipe(name="file"), changes).quantize
    if settings.search or settings.finetune:
        raise UsageError(
            "--search, --finetune: a run alone has what they need.", "Leave them out, or name a run."
        )
    known = stated_in(like) if like is not None else None
    chosen = settings.model_dump(exclude={"search", "finetune", "finetune_lr"})
    return quantize(
        file,
        data,
        out=out,
        classes=known.classes if known else None,
        preprocess=known.preprocess if known else None,
        **chosen,
    ).path
