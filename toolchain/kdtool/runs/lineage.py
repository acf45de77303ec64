"""Check that the parts of a run belong together: each part was made from the present state of its parent.

    teacher → student        weights → ONNX file → INT8 file

Missing parts, such as the weights on a device, are not checked.
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

StageName = Literal["export", "quantize", "bench"]
Digest = Callable[[Path], str | None]
Outdated = tuple[str, str]  # the problem, and the command that makes the part again


def outdated(run: RunFolder, upto: StageName = "bench") -> list[str]:
    """List the outdated parts of a run, each with the command that makes it again, in the order to run them.

    Args:
        upto: stage that is about to begin; only the parts that it uses are checked.
    """
    return [f"{problem}: {command}" for problem, command in _outdated(run, upto)]


def require_current(run: RunFolder, upto: StageName) -> None:
    """Raise UsageError if a part that the stage `upto` uses is outdated; the message has all such parts."""
    parts = _outdated(run, upto)
    if parts:
        problems = [f"  {problem}" for problem, _ in parts]
        commands = dict.fromkeys(command for _, command in parts)
        raise UsageError(
            "\n".join([f"{run.path}: {len(parts)} part(s) are outdated.", *problems]),
            f"Make them again with: {', then '.join(commands)}",
        )


def _outdated(run: RunFolder, upto: StageName) -> list[Outdated]:
    digest = functools.cache(_digest)  # each file is hashed once
    parts: list[Outdated] = []
    for stage, check in CHECKS.items():
        parts += check(run, digest)
        if stage == upto:
            break
    return parts


def _student(run: RunFolder, digest: Digest) -> Iterator[Outdated]:
    student = read_manifest(run.role("student") / "manifest.json")
    teacher = digest(run.weights("teacher"))
    if student is None or teacher is None:
        return
    if student.inputs.get("teacher") != teacher:
        yield (
            f"{run.weights('student')} was trained with another teacher than {run.weights('teacher')}",
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


# Stage → check of the parts that it uses. A stage also needs the checks of all stages before it.
CHECKS: dict[StageName, Callable[[RunFolder, Digest], Iterator[Outdated]]] = {
    "export": _student,
    "quantize": _exports,
    "bench": _quantized,
}


def _digest(path: Path) -> str | None:
    return sha256_file(path) if path.is_file() else None
