"""`kdtool bundle`."""

from __future__ import annotations

from pathlib import Path

import click

from kdtool.bundle.options import MOST_PHOTOGRAPHS
from kdtool.cli.options import run_argument


@click.command()
@run_argument
@click.option(
    "--role", default="student", show_default=True, help="Network to pack: teacher, student, baseline."
)
@click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="NAME",
    help="Exit with code 6 unless a model fits this kind of app: android, ios, flutter, react-native, web or "
    "python; may be repeated.  [default: all kinds are checked, none is required]",
)
@click.option(
    "--photographs",
    type=click.IntRange(0, MOST_PHOTOGRAPHS),
    default=4,
    show_default=True,
    help="Number of test photographs among the golden images; 0: the bundle contains none.",
)
@click.option("--license", "licence", metavar="TEXT", help="Licence of the model, for the model card.")
@click.option("--data-license", metavar="TEXT", help="Licence of the photographs, for the model card.")
@click.option(
    "--web-runtime",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder dist of onnxruntime-web.  [default: node_modules, otherwise a pinned address in the page]",
)
def command(
    run: Path | None,
    role: str,
    targets: tuple[str, ...],
    photographs: int,
    licence: str | None,
    data_license: str | None,
    web_runtime: Path | None,
) -> None:
    """Pack what an app or a web page needs: models, labels, example code, golden images.

    RUN is the folder of a run; the default is the newest run under artifacts/. The command writes bundle/ and
    bundle.zip into it: the models with labels, preprocessing, model card, example code, golden images and
    checksums, the file layout of the Hugging Face Hub, and a web page that classifies in the browser.
    """
    from kdtool.bundle.options import UNSTATED, Options
    from kdtool.bundle.page.runtime import VERSION, find_runtime
    from kdtool.bundle.stage import write_bundle
    from kdtool.machine.terminal import open_screen
    from kdtool.runs.comparison import require_run
    from kdtool.runs.folder import RunFolder, newest_run
    from kdtool.runs.lock import run_lock

    screen = open_screen()
    folder = RunFolder(run) if run else newest_run()
    if run is None:
        screen.say(f"Newest run: {folder.path}.")
    require_run(folder)
    if not folder.onnx.is_dir():
        folder.read_record()  # before the lock, which would create the folder
    runtime = find_runtime(web_runtime)
    if runtime.folder is None:
        screen.say(
            "onnxruntime-web is not installed: the page will load it from a pinned address. To include it: "
            f"npm install onnxruntime-web@{VERSION}, then run kdtool bundle again."
        )
    options = Options(role, targets, photographs, licence or UNSTATED, data_license or UNSTATED)
    with run_lock(folder.path):
        bundle = write_bundle(folder, options, runtime, screen)
    click.echo(bundle)
    screen.say(f"To try it: kdtool serve {bundle}. To check a copy of it elsewhere: kdtool verify {bundle}")
