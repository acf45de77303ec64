"""The last stage: report.html, one self-contained page from the files of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kdtool import __version__
from kdtool.core.files import sha256_file, write_text
from kdtool.core.screen import Screen
from kdtool.machine.packages import versions_of
from kdtool.report.page import gather
from kdtool.report.render import render, template_hash
from kdtool.runs.folder import ROLES, RunFolder
from kdtool.runs.stage import Stage


def write_report(run: RunFolder, screen: Screen, others: Sequence[RunFolder] = ()) -> Path:
    """Write report.html of `run` from the files that the run has; return the path of the page.

    The page is a function of run.json, each history.csv, bench.json, predictions.csv, the prepared images
    and the manifests of quantize, and of run.json and bench.json of `others`. It depends neither on the clock
    nor on the network. The page leaves out parts whose files are missing, and says so.

    Raises:
        UsageError: the folder is not a run, or its bench.json is broken.
        DataError: a history or predictions.csv is broken.
        SetupError: the page cannot be written.
    """
    stage = Stage("report", run.path, _inputs(run, others), manifest_name="report.manifest.json")
    if stage.complete():
        screen.say("report: complete, skipped")
        return run.report
    text = render(gather(run, screen, others))
    stage.reopen()
    write_text(run.report, text)
    stage.seal([run.report.name], {}, versions_of(("jinja2", "pillow")))
    return run.report


def _inputs(run: RunFolder, others: Sequence[RunFolder]) -> dict[str, Any]:
    """Collect everything that determines the page: the hashes of the runs' files and of the template."""
    histories = [run.role(role) / "history.csv" for role in ROLES]
    quantized = [run.quantize_manifest(role) for role in ROLES]
    parents = [run.record, *histories, run.bench, run.predictions, run.data / "manifest.json", *quantized]
    return {
        "name": run.path.resolve().name,
        "kdtool": __version__,
        "page": template_hash(),
        "parents": {
            path.relative_to(run.path).as_posix(): sha256_file(path) for path in parents if path.is_file()
        },
        "others": [
            [
                other.path.resolve().name,
                *(sha256_file(path) for path in (other.record, other.bench) if path.is_file()),
            ]
            for other in others
        ],
    }
