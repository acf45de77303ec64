"""`kdtool bundle`."""

from __future__ import annotations

from pathlib import Path

import click

from kdtool.cli.options import run_argument


@click.command()
@run_argument
@click.option(
    "--role", default="student", show_default=True, help="Which network: teacher, student, baseline."
)
@click.option(
    "--target",
    "targets",
    multiple=True,
    metavar="NAME",
    help="Exit 6 unless a model fits this kind of app: android, ios, flutter, react-native, web or python; "
    "may be repeated.  [default: all are examined, none is required]",
)
@click.option(
    "--photographs",
    type=click.IntRange(0, 50),
    default=4,
    show_default=True,
    help="Test photographs to ship among the golden images. 0: none leaves the house.",
)
@click.option(
    "--license", "licence", metavar="TEXT", help="Licence of the model, as the card shall state it."
)
@click.option("--data-license", metavar="TEXT", help="Licence of the photographs, for the card.")
@click.option(
    "--web-runtime",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder dist of onnxruntime-web.  [default: node_modules, else a pinned address in the page]",
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
    """Write what an app or a page needs: models, labels, snippets, proof.

    RUN is the folder of a run; without it the newest under artifacts/. Writes bundle/ and bundle.zip into it:
    the models with labels, preprocessing, model card, snippets, golden images and checksums, the layout of
    Hugging Face, and a page that classifies in the browser.
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
        folder.read_record()  # before the lock, which would make the folder
    runtime = find_runtime(web_runtime)
    if runtime.folder is None:
        screen.say(
            "onnxruntime-web is not here: the page will load it from its pinned address. To ship it along: "
            f"npm install onnxruntime-web@{VERSION}, then again."
        )
    options = Options(role, targets, photographs, licence or UNSTATED, data_license or UNSTATED)
    with run_lock(folder.path):
        bundle = write_bundle(folder, options, runtime, screen)
    click.echo(bundle)
    screen.say(f"Try it: kdtool serve {bundle}. Wherever it is copied to: kdtool verify {bundle}")
