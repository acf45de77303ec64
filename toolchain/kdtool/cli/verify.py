"""`kdtool verify`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from kdtool.cli.options import json_option


@click.command()
@click.argument("bundle", metavar="BUNDLE", type=click.Path(file_okay=False, path_type=Path))
@json_option
def command(bundle: Path, as_json: bool) -> None:
    """Replay the golden images of a bundle on this machine.

    BUNDLE is the folder that kdtool bundle wrote, wherever it was copied to. Exits 4 where a file is missing
    or changed, 6 where preprocessing or a model gives something else here; the message names the first
    difference.
    """
    from kdtool.bundle.proof.verify import verify
    from kdtool.machine.terminal import open_screen

    found = verify(bundle, open_screen())
    if as_json:
        click.echo(json.dumps(asdict(found), indent=2))
        return
    click.echo(f"{found.images} golden images: pixels differ by at most {found.pixels} of 255.")
    for file, difference in found.logits.items():
        click.echo(f"{file}\tlogits differ by at most {difference:.1e}")
