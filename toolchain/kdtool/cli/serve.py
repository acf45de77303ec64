"""`kdtool serve`."""

from __future__ import annotations

from pathlib import Path

import click

from kdtool.core.errors import UsageError

LOOPBACK = "127.0.0.1"


@click.command()
@click.argument(
    "bundle", required=False, metavar="[BUNDLE]", type=click.Path(file_okay=False, path_type=Path)
)
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0: a free one.")
@click.option(
    "--host",
    default=LOOPBACK,
    show_default=True,
    help="Address to listen on; 0.0.0.0: every one of this machine. "
    "Camera and offline use want https or localhost.",
)
def command(bundle: Path | None, port: int, host: str) -> None:
    """Give out the page of a bundle, on this machine alone.

    BUNDLE is the folder that kdtool bundle wrote; without it that of the newest run. Ctrl-C ends it. The
    folder web/ in it may as well be put on any web server.
    """
    from kdtool.bundle.page.serve import addresses, open_server
    from kdtool.runs.folder import newest_run

    if bundle is None:
        bundle = newest_run().path / "bundle"
        if not bundle.is_dir():
            raise UsageError(f"{bundle}: no such folder.", f"Make it with: kdtool bundle {bundle.parent}")
    with open_server(bundle, host, port) as server:
        for address in addresses(server, host):
            click.echo(address)
        click.echo(f"The page of {bundle}. Ctrl-C ends it.", err=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            click.echo("Ended.", err=True)
