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
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="Port to listen on; 0: any free port.",
)
@click.option(
    "--host",
    default=LOOPBACK,
    show_default=True,
    help="Address to listen on; 0.0.0.0: all addresses of this machine. "
    "Camera and offline use need https or localhost.",
)
def command(bundle: Path | None, port: int, host: str) -> None:
    """Serve the web page of a bundle, by default to this machine only.

    BUNDLE is the folder that kdtool bundle wrote; the default is that of the newest run. Ctrl-C stops the
    server. Any other web server can serve the folder web/ of the bundle as well.
    """
    from kdtool.bundle.page.serve import addresses, open_server
    from kdtool.runs.folder import newest_run

    if bundle is None:
        bundle = newest_run().path / "bundle"
        if not bundle.is_dir():
            raise UsageError(f"{bundle}: no such folder.", f"Write it with: kdtool bundle {bundle.parent}")
    with open_server(bundle, host, port) as server:
        for address in addresses(server, host):
            click.echo(address)
        click.echo(f"Serving the page of {bundle}. Ctrl-C stops it.", err=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            click.echo("Stopped.", err=True)
