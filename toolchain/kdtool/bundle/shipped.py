"""What is shipped of a run: which model files, under which names, and what is known of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kdtool.bundle.about import About
from kdtool.core.errors import ModelFileError, UsageError
from kdtool.core.files import sha256_bytes
from kdtool.core.modelinfo import FINETUNED, ModelInfo
from kdtool.machine.cpu import INT8_WORTH_IT
from kdtool.runs.folder import ROLES, RunFolder
from kdtool.runs.lineage import require_current
from kdtool.runs.models import MANIFESTS, sealed_models
from kdtool.runs.stage import read_manifest
from kdtool.runtime.onnxbytes.declared import onnx_info
from kdtool.runtime.onnxbytes.versions import onnx_versions, ort_versions
from kdtool.runtime.onnxruntime import OnnxSession

REDUCED = "model.required_operators.config"


@dataclass(frozen=True)
class Kind:
    """One form of a model. `suffix` is that of the run's file after the role.

    Attributes:
        option: of `kdtool export --onnx`, which makes it; "" for what needs none.
        hub: its name under hub/onnx/, where the loaders of Hugging Face look; "" where none would load it.
        web: whether the page offers it.
    """

    name: str
    suffix: str
    file: str
    title: str
    what: str
    hub: str = ""
    web: bool = False
    option: str = ""


KINDS = (
    Kind("fp32", ".onnx", "model.onnx", "FP32", "float32", hub="model.onnx", web=True),
    Kind("int8", ".int8.onnx", "model.int8.onnx", "INT8", "INT8", hub="model_quantized.onnx", web=True),
    Kind(
        "uint8",
        ".uint8.onnx",
        "model.uint8.onnx",
        "8-bit input",
        "takes 8-bit pixels, normalizes inside",
        web=True,
        option="--uint8",
    ),
    Kind("ort", ".ort", "model.ort", "ORT", "ONNX Runtime's own format, for reduced builds", option="--ort"),
)


@dataclass(frozen=True)
class Source:
    """A file of the run that goes into the bundle."""

    kind: Kind
    path: Path


def sources(run: RunFolder, role: str) -> tuple[Source, ...]:
    """The model files of `role`, float32 first; those without a sound manifest are left out.

    Raises:
        UsageError: the run has no exported model of this role, or a part of it is outdated.
    """
    if role not in ROLES:
        raise UsageError(f"--role {role}: unknown; allowed: {', '.join(ROLES)}.", "kdtool bundle --help")
    require_current(run, "bench")
    sealed = sealed_models(run)
    if (role, "fp32") not in sealed:
        raise UsageError(
            f"{run.path} has no exported {role}.", f"Export it with: kdtool export --onnx {run.path}"
        )
    shipped = []
    for kind in KINDS:
        path = run.onnx / f"{role}{kind.suffix}"
        # Files without a manifest of their own are tried on the golden images before they are shipped.
        is_sound = (role, kind.name) in sealed if kind.name in MANIFESTS else path.is_file()
        if is_sound:
            shipped.append(Source(kind, path))
    return tuple(shipped)


def left_out(run: RunFolder, shipped: Sequence[Source]) -> str:
    """Which kinds the run does not have, and the commands that add them; "" where it has them all.

    An export takes the INT8 file of the last one away, so that quantizing comes after it.
    """
    names = {source.kind.name for source in shipped}
    missing = [kind for kind in KINDS if kind.name not in names]
    if not missing:
        return ""
    options = [kind.option for kind in missing if kind.option]
    export = [f"kdtool export --onnx {' '.join(options)} {run.path}"] if options else []
    commands = ", ".join([*export, f"kdtool quantize {run.path}", f"kdtool bundle {run.path}"])
    return f"without {', '.join(kind.file for kind in missing)}; to add: {commands}"


def operators_config(run: RunFolder, role: str) -> Path | None:
    """The operators that a reduced build of ONNX Runtime needs, where the export wrote them."""
    path = run.onnx / f"{role}.required_operators.config"
    return path if path.is_file() else None


def record_of(source: Source) -> ModelInfo:
    """What the float32 file says of itself.

    Raises:
        ModelFileError: it is broken, or says nothing.
    """
    info = onnx_info(source.path)
    if info is None:
        raise ModelFileError(
            f"{source.path} states neither its classes nor its preprocessing.",
            "Export it again with: kdtool export --onnx",
        )
    return info


@dataclass(frozen=True)
class InputSignature:
    """The one input of a classifier; `shape` has −1 where a side is free."""

    name: str
    type: str
    layout: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class ShippedModel:
    """Unknown values are None.

    Attributes:
        web: its address in the page, "" where the page does not offer it.
        ir, opset, ort: the versions a runtime must know, `ort` that of the .ort format; 0 where the format
            has none.
        latency: p50 and p90 in ms, threads and samples, as bench measured them; None where they are void.
        made_for, faster: of INT8, see `int8_facts`.
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
    input: InputSignature
    output: str
    accuracy: float | None
    accuracy_ci: tuple[float, float] | None
    latency: Mapping[str, float] | None
    made_for: str | None
    faster: bool | None
    finetuned: str | None


def int8_facts(run: RunFolder, role: str) -> tuple[str | None, bool | None]:
    """What quantize found out about the INT8 file of `role`; None is unknown.

    Returns:
        The kind of processor, as `kdtool quantize --target` calls it, and whether INT8 was worth it on the
        machine that made the file, which is unknown of a file for another kind of machine.
    """
    manifest = read_manifest(run.quantize_manifest(role))
    if manifest is None:
        return None, None
    recipe, speed = manifest.result.get("recipe") or {}, manifest.result.get("speed")
    return recipe.get("target"), speed["ci"][0] >= INT8_WORTH_IT if speed else None


def describe(kind: Kind, session: OnnxSession, about: About, run: RunFolder, role: str) -> ShippedModel:
    """The file of `session`, with what bench measured of this very file."""
    content = session.path.read_bytes()
    versions = onnx_versions(content) if session.path.suffix == ".onnx" else ort_versions(content)
    made_for, faster = int8_facts(run, role) if kind.name == "int8" else (None, None)
    spec = session.input
    shape = tuple(-1 if side is None else side for side in spec.shape)
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
        input=InputSignature(spec.name, spec.type, session.input_format.layout, shape),
        output=session.output.name,
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
        made_for=made_for,
        faster=faster,
        finetuned=session.info.notes.get(FINETUNED) if session.info else None,
    )
