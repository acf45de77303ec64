"""`kdtool doctor`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kdtool.cli.options import json_option, run_argument
from kdtool.core.errors import SetupError, UsageError

if TYPE_CHECKING:
    from kdtool.runs.folder import RunFolder

COLOURS = {"ok": "green", "note": "cyan", "warning": "yellow", "broken": "red"}


@click.command()
@run_argument
@json_option
def command(run: Path | None, as_json: bool) -> None:
    """Examine the installation, this machine and a run.

    RUN is the folder of a run; without it the newest under artifacts/, if there is one. Each finding
    comes with its fix. Exits 5 if something is broken.
    """
    from dataclasses import asdict

    from kdtool.core.text import printable
    from kdtool.doctor.installation import check_installation, check_machine
    from kdtool.doctor.run import check_run
    from kdtool.machine.cpu import int8_target
    from kdtool.machine.host import read_host, throttled_since_boot
    from kdtool.quant.target import int8_scheme

    folder = _folder(run)
    scheme = int8_scheme(int8_target())
    int8 = f"{scheme} ({scheme.reason})"
    machine = check_machine(read_host(), Path(), int8, throttled_since_boot())
    findings = [*check_installation(), *machine]
    findings += [*check_run(folder)] if folder is not None else []
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=2, ensure_ascii=False))
    for finding in () if as_json else findings:
        level = click.style(f"{finding.level:8}", fg=COLOURS[finding.level])
        click.echo(f"{level} {printable(finding.about)}: {printable(finding.text)}")
        if finding.fix:
            click.echo(f"         → {printable(finding.fix)}")
    broken = sum(finding.level == "broken" for finding in findings)
    if broken:
        raise SetupError(f"{broken} finding(s) are broken.", "The fixes stand beside them.")


def _folder(run: Path | None) -> RunFolder | None:
    from kdtool.runs.folder import RunFolder, newest_run

    if run is not None:
        if not run.is_dir():
            raise UsageError(f"{run}: no such folder.", "Name the folder of a run, such as artifacts/paper")
        return RunFolder(run)
    try:
        return newest_run()
    except UsageError:
        return None  # nothing was trained here yet
