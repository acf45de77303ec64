"""A model file as bundle.json tells of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kdtool.bundle.about import About
from kdtool.bundle.made import Made
from kdtool.bundle.session import Input, ShippedSession
from kdtool.bundle.shipped import Kind
from kdtool.core.files import sha256_bytes
from kdtool.core.modelinfo import FINETUNED
from kdtool.runtime.onnxbytes.onnxfacts import versions_in
from kdtool.runtime.onnxbytes.ortfacts import versions_in_ort
from kdtool.runtime.onnxbytes.stated import stated_by_onnx


@dataclass(frozen=True)
class ShippedModel:
    """Unknown values are None.

    Attributes:
        web: its address in the page, "" where the page does not offer it.
        ir, opset, ort: the versions a runtime must know, `ort` that of the .ort format; 0 where the format
            has none.
        latency: p50 and p90 in ms, threads and samples, as bench measured them; None where they are void.
        made_for, faster: of INT8, see `Made`.
        finetuned: for how long it says its weights were trained on for INT8.
    """

    file: str
    kind: str
    title: str
    what: str
    web: str
    bytes: int
    sha256: str
    ir: int
    opset: int
    ort: int
    input: Input
    output: str
    accuracy: float | None
    accuracy_ci: tuple[float, float] | None
    latency: Mapping[str, float] | None
    made_for: str | None
    faster: bool | None
    finetuned: str | None


def describe(
    path: Path, kind: Kind, session: ShippedSession, about: About, role: str, made: Made
) -> ShippedModel:
    """The file `path`, with what bench measured of this very file."""
    content = path.read_bytes()
    versions = versions_in(content) if path.suffix == ".onnx" else versions_in_ort(content)
    stated = stated_by_onnx(path) if path.suffix == ".onnx" else None
    digest = sha256_bytes(content)
    row = about.measured(digest, role, kind.name)
    latency = row.latency_ms if row and not about.void else None
    return ShippedModel(
        file=kind.file,
        kind=kind.name,
        title=kind.title,
        what=kind.what,
        web=f"models/{kind.file}?v={digest[:12]}" if kind.web else "",
        bytes=len(content),
        sha256=digest,
        ir=versions.ir,
        opset=versions.opset,
        ort=versions.ort,
        input=session.input,
        output=session.output,
        accuracy=row.accuracy if row else None,
        accuracy_ci=row.accuracy_ci if row else None,
        latency=(
            {
                "p50": latency.p50,
                "p90": latency.p90,
                "threads": latency.threads,
                "samples": len(latency.samples),
            }
            if latency
            else None
        ),
        made_for=made.target,
        faster=made.faster,
        finetuned=stated.notes.get(FINETUNED) if stated else None,
    )
