"""What the step quantize found out about an INT8 file: for which processor it is, and whether it pays."""

from __future__ import annotations

from dataclasses import dataclass

from kdtool.machine.cpu import INT8_WORTH_IT
from kdtool.runs.folder import RunFolder
from kdtool.runs.stage import read_manifest


@dataclass(frozen=True)
class Made:
    """Unknown values are None.

    Attributes:
        target: the kind of processor, as `kdtool quantize --target` calls it.
        faster: whether it was worth it on the machine that made it; None where it was made for another.
    """

    target: str | None = None
    faster: bool | None = None


def made(run: RunFolder, role: str, kind: str) -> Made:
    """Of the file of this `kind`; nothing is known of one that quantize did not make."""
    manifest = read_manifest(run.quantize_manifest(role)) if kind == "int8" else None
    if manifest is None:
        return Made()
    recipe, speed = manifest.result.get("recipe") or {}, manifest.result.get("speed")
    return Made(recipe.get("target"), speed["ci"][0] >= INT8_WORTH_IT if speed else None)
