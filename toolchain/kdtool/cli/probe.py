"""`kdtool probe`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from kdtool.train.probing import Probed


@click.command()
@click.argument("data", metavar="DATA")
@click.option("--network", required=True, metavar="NAME", help="Network, such as timm/tf_efficientnet_lite0.")
@click.option(
    "--weights",
    default="imagenet",
    show_default=True,
    metavar="imagenet|FILE",
    help="Weights of the network: the published ones, or a file.",
)
@click.option(
    "--size", type=click.IntRange(8, 2048), default=224, show_default=True, help="Input side, pixels."
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the photographs and the probe.  [default: artifacts/probe-NAME]",
)
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Seed of carved splits."
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="data.KEY=VALUE",
    help="Change a field of [data], such as data.balance=sample; may be repeated.",
)
@click.option(
    "--test", is_flag=True, help="Also open the test split. Do this once, for the network you chose."
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def command(
    data: str,
    network: str,
    weights: str,
    size: int,
    out: Path | None,
    seed: int,
    overrides: Sequence[str],
    test: bool,
    as_json: bool,
) -> None:
    """Say how good the frozen features of a network are for these photographs.

    The features of the training photographs are computed once, and a linear classifier is fitted to
    them; validation chooses its regularization. This takes seconds to minutes, and says which network
    to start from before anything is trained. DATA is as for kdtool run.
    """
    from kdtool.machine.packages import require_training
    from kdtool.machine.terminal import open_screen
    from kdtool.train.probing import probe_network

    require_training("probe")
    found = probe_network(data, network, weights, size, out, seed, overrides, open_screen(), test=test)
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=2, ensure_ascii=False, allow_nan=False))
    else:
        _print(found)


def _print(found: Probed) -> None:
    click.echo(f"{found.network} at {found.size} pixels, frozen, with a linear classifier:")
    for figures in (found.validation, found.test):
        if figures is not None:
            click.echo(f"  {figures}")
    click.echo(f"  {found.features:,} features, C = {found.c:g}, {found.seconds:.0f} s; file: {found.file}")
    if found.fault:
        click.echo(f"It is of no use: {found.fault}.")
    start = f"--student {found.network} --student-weights {found.weights}"
    click.echo(f"To train from here: kdtool run {found.data} {start} --set data.size={found.size}")
