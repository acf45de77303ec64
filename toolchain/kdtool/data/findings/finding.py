"""Findings of a scan and their message: all kinds at once, each with its first cases."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from kdtool.core.errors import DataError

SHOWN = 20  # cases of a kind in a message; `data check --json` has them all

# Kind → its heading. The order is that of the messages.
KINDS = {
    "classes": "Classes",
    "unreadable": "Pictures that cannot be read",
    "few": "Too few pictures to split",
    "leak": "The same picture in two splits",
    "labels": "The same picture under two classes",
    "near": "Pictures in two splits or classes that look the same",
}
# Kind → what to do about a fatal finding; every command that scans has these options.
WAYS_OUT = {
    "classes": "Give every split the same classes, two or more, each with pictures",
    "unreadable": "Leave unreadable pictures out: --skip-bad",
    "few": "Add pictures, or split them yourself into train, validation and test",
    "leak": "Accept the same picture in two splits: --allow-leaks",
}


@dataclass(frozen=True)
class Finding:
    """One thing wrong with the photographs.

    Attributes:
        kind: a key of `KINDS`.
        text: the case, naming files or classes.
        paths: the photo files concerned.
        fatal: whether training does not start; otherwise the finding is a warning.
    """

    kind: str
    text: str
    paths: tuple[str, ...] = ()
    fatal: bool = True

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"paths": list(self.paths)}


def describe(findings: Iterable[Finding]) -> str:
    """The findings under their headings: at most `SHOWN` of each kind, then the number of the others."""
    lines = []
    listed = list(findings)
    for kind, heading in KINDS.items():
        cases = [finding.text for finding in listed if finding.kind == kind]
        if cases:
            lines += [f"{heading} ({len(cases)}):", *(f"  {case}" for case in cases[:SHOWN])]
        if len(cases) > SHOWN:
            lines.append(f"  … and {len(cases) - SHOWN} more")
    return "\n".join(lines)


def data_error(source: str, findings: Iterable[Finding]) -> DataError:
    """The error that stops training, with every fatal finding."""
    fatal = [finding for finding in findings if finding.fatal]
    return DataError(
        f"{source}: {len(fatal)} finding(s) stop the training.\n{describe(fatal)}",
        f"All findings: kdtool data check {shlex.quote(source)} --json\n{ways_out(fatal)}",
    )


def ways_out(findings: Iterable[Finding]) -> str:
    """One line for each kind of fatal finding: what to do about it."""
    kinds = {finding.kind for finding in findings if finding.fatal}
    return "\n".join(way for kind, way in WAYS_OUT.items() if kind in kinds)
