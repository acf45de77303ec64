"""Findings of a scan and the message about them: all kinds at once, each with its first cases."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from kdtool.core.errors import DataError
from kdtool.core.spelling import assigned

SHOWN = 20  # cases of a kind in a message; `data check --json` lists all of them

# Kind → heading in messages, in the order of the messages.
KINDS = {
    "classes": "Classes",
    "unreadable": "Photo files that cannot be read",
    "few": "Classes with too few photographs to split",
    "leak": "The same image in two splits",
    "labels": "The same image under two classes",
    "near": "Images in two splits or classes that look alike",
}
# Kind → remedy for a fatal finding.
WAYS_OUT = {
    "classes": "Give every split the same classes, two or more, each with photographs",
    "unreadable": "Leave out the photo files that cannot be read",
    "few": "Add photographs, or split them yourself into train, validation and test",
    "leak": "Accept the same image in two splits",
}
FIELDS = {"unreadable": "data.skip_bad", "leak": "data.allow_leaks"}  # kind → field that applies its remedy


@dataclass(frozen=True)
class Finding:
    """One fault of the photographs.

    Attributes:
        kind: a key of `KINDS`.
        text: description of the case, which names files or classes.
        paths: the photo files concerned.
        fatal: True if training does not start; otherwise the finding is a warning.
        hint: remedy for this case, if there is one beside that of the kind; not in the JSON.
    """

    kind: str
    text: str
    paths: tuple[str, ...] = ()
    fatal: bool = True
    hint: str = ""

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "text": self.text, "paths": list(self.paths), "fatal": self.fatal}


def describe(findings: Iterable[Finding]) -> str:
    """List the findings under their headings: at most `SHOWN` of each kind, then the number of the others."""
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
    """Make the error that stops training, with every fatal finding."""
    fatal = [finding for finding in findings if finding.fatal]
    return DataError(
        f"{source}: training cannot start because of {len(fatal)} finding(s).\n{describe(fatal)}",
        f"All findings: kdtool data check {shlex.quote(source)} --json\n{ways_out(fatal)}",
    )


def ways_out(findings: Iterable[Finding]) -> str:
    """List the remedies for fatal findings, one line each: of single cases, then of kinds."""
    fatal = [finding for finding in findings if finding.fatal]
    kinds = {finding.kind for finding in fatal}
    hints = dict.fromkeys(finding.hint for finding in fatal if finding.hint)
    return "\n".join([*hints, *map(_way_out, (kind for kind in WAYS_OUT if kind in kinds))])


def _way_out(kind: str) -> str:
    return f"{WAYS_OUT[kind]}: {assigned({FIELDS[kind]: True})}" if kind in FIELDS else WAYS_OUT[kind]
