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
    """Check on this machine that a bundle gives the expected logits.

    BUNDLE is the folder that kdtool bundle wrote, or a copy of it. Its models classify the golden images. The
    exit code is 4 if a file is missing or changed, and 6 if the preprocessing or a model gives another result
    here; the message names the first difference.
    """
    from kdtool.bundle.proof.verify import verify
    from kdtool.machine.terminal import open_screen

    verified = verify(bundle, open_screen())
    if as_json:
        click.echo(json.dumps(asdict(verified), indent=2))
        return
    click.echo(f"{verified.images} golden images: pixels differ by at most {verified.pixels} of 255.")
    for file, difference in verified.logits.items():
        click.echo(f"{file}\tlogits differ by at most {difference:.1e}")
