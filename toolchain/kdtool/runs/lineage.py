"""Whether the parts of a run still belong together: each was made from the one before it.

    teacher → student        weights → ONNX file → INT8 file

Parts that are not there, as on a device, are not asked.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from kdtool.core.errors import UsageError
from kdtool.core.files import sha256_file
from kdtool.runs.folder import ROLES, RunFolder
from kdtool.runs.stage import read_manifest

Step = Literal["export", "quantize", "bench"]
Digest = Callable[[Path], str | None]
Outdated = tuple[str, str]  # what, and the command that mends it


def outdated(run: RunFolder, upto: Step = "bench") -> list[str]:
    """What of a run is outdated, each with the command that mends it, in the order to mend it in.

    Args:
        upto: the step that is about to begin; what comes after its own parents does not concern it.
    """
    return [f"{what}: {command}" for what, command in _outdated(run, upto)]


def require_current(run: RunFolder, upto: Step) -> None:
    """Raise UsageError naming all that is outdated among what `upto` would take."""
    found = _outdated(run, upto)
    if found:
        commands = dict.fromkeys(command for _, command in found)
        raise UsageError(
            "\n".join(
                [f"{run.path}: {len(found)} part(s) are outdated.", *(f"  {what}" for what, _ in found)]
            ),
            f"Make them again with: {', then '.join(commands)}",
        )


def _outdated(run: RunFolder, upto: Step) -> list[Outdated]:
    digest = functools.cache(_digest)  # each file is hashed once
    found: list[Outdated] = []
    for step, check in CHECKS.items():
        found += check(run, digest)
        if step == upto:
            break
    return found


def _student(run: RunFolder, digest: Digest) -> Iterator[Outdated]:
    student = read_manifest(run.role("student") / "manifest.json")
    teacher = digest(run.weights("teacher"))
    if student is None or teacher is None:
        return
    if student.inputs.get("teacher") != teacher:
        yield (
            f"{run.weights('student')} learnt from another teacher than {run.weights('teacher')}",
            f"kdtool distill --out {run.path}",
        )


def _exports(run: RunFolder, digest: Digest) -> Iterator[Outdated]:
    for role in ROLES:
        manifest = read_manifest(run.export_manifest(role))
        weights = digest(run.weights(role))
        if manifest is not None and weights is not None and manifest.inputs.get("network") != weights:
            yield (
                f"{run.onnx_model(role)} was made from other weights than {run.weights(role)}",
                f"kdtool export --onnx {run.path}",
            )


def _quantized(run: RunFolder, digest: Digest) -> Iterator[Outdated]:
    for role in ROLES:
        manifest = read_manifest(run.quantize_manifest(role))
        model = digest(run.onnx_model(role))
        if manifest is not None and model is not None and manifest.inputs.get("model") != model:
            yield (
                f"{run.onnx_model(role, 'int8')} was made from another model than {run.onnx_model(role)}",
                f"kdtool quantize {run.path}",
            )


# What each step takes must be current; the checks of the steps before it are its own as well.
CHECKS: dict[Step, Callable[[RunFolder, Digest], Iterator[Outdated]]] = {
    "export": _student,
    "quantize": _exports,
    "bench": _quantized,
}


def _digest(path: Path) -> str | None:
    return sha256_file(path) if path.is_file() else None
