"""Model files of a run that go into a bundle: their kinds, names and known facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kdtool.bundle.about import About
from kdtool.core.errors import ModelFileError, UsageError
from kdtool.core.files import sha256_bytes
from kdtool.core.modelinfo import FINETUNED, ModelInfo
from kdtool.core.spelling import argument
from kdtool.machine.cpu import INT8_WORTH_IT
from kdtool.results.bench import read_bench
from kdtool.runs.folder import ROLES, RunFolder
from kdtool.runs.lineage import require_current
from kdtool.runs.models import MANIFESTS, sealed_models
from kdtool.runs.soundness import require_sound_network, require_sound_results
from kdtool.runs.stage import read_manifest
from kdtool.runtime.onnxbytes.declared import onnx_info
from kdtool.runtime.onnxbytes.versions import onnx_versions, ort_versions
from kdtool.runtime.onnxruntime import OnnxSession

REDUCED = "model.required_operators.config"


@dataclass(frozen=True)
class Kind:
    """Kind of model file.

    Attributes:
        suffix: end of the file name in the run, after the role.
        file: file name in the bundle.
        what: description in the README.
        hub: file name under hub/onnx/, where the loaders of Hugging Face look; "" if they cannot load it.
        web: True if the page offers it.
        option: option of `kdtool export --onnx` that makes it; "" if it needs no option.
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
class ModelFile:
    """Model file of the run that goes into the bundle."""

    kind: Kind
    path: Path


def model_files(run: RunFolder, role: str) -> tuple[ModelFile, ...]:
    """Model files of `role`, float32 first, without those whose manifest is missing or broken.

    Raises:
        UsageError: the run has no exported model of this role, or a stage of the run is outdated.
        GateError: the network is of no use.
    """
    if role not in ROLES:
        raise UsageError(f"{argument('role')} {role}: unknown; allowed: {', '.join(ROLES)}.")
    require_current(run, "bench")
    require_sound_network(run.weights(role), role)
    if run.bench.is_file():
        require_sound_results(read_bench(run.bench), run.bench, [role])
    sealed = sealed_models(run)
    if (role, "fp32") not in sealed:
        raise UsageError(
            f"{run.path} has no exported {role}.", f"Export it with: kdtool export --onnx {run.path}"
        )
    shipped = []
    for kind in KINDS:
        path = run.onnx / f"{role}{kind.suffix}"
        # A kind without a manifest is tested on the golden images before it is shipped.
        is_sound = (role, kind.name) in sealed if kind.name in MANIFESTS else path.is_file()
        if is_sound:
            shipped.append(ModelFile(kind, path))
    return tuple(shipped)


def missing_kinds(run: RunFolder, shipped: Sequence[ModelFile]) -> str:
    """Text with the kinds that the run does not have, and the commands that add them; "" if none is missing.

    A new export deletes the INT8 file, so `kdtool quantize` comes after it.
    """
    names = {file.kind.name for file in shipped}
    missing = [kind for kind in KINDS if kind.name not in names]
    if not missing:
        return ""
    options = [kind.option for kind in missing if kind.option]
    export = [f"kdtool export --onnx {' '.join(options)} {run.path}"] if options else []
    commands = ", ".join([*export, f"kdtool quantize {run.path}", f"kdtool bundle {run.path}"])
    return f"made without {', '.join(kind.file for kind in missing)}; to add: {commands}"


def operators_config(run: RunFolder, role: str) -> Path | None:
    """Path of the operator list for a reduced build of ONNX Runtime; None if the export wrote none."""
    path = run.onnx / f"{role}.required_operators.config"
    return path if path.is_file() else None


def info_of(file: ModelFile) -> ModelInfo:
    """Record of classes and preprocessing in the float32 file.

    Raises:
        ModelFileError: the file is broken or has no record.
    """
    info = onnx_info(file.path)
    if info is None:
        raise ModelFileError(
            f"{file.path} states neither its classes nor its preprocessing.",
            "Export it again with: kdtool export --onnx",
        )
    return info


@dataclass(frozen=True)
class InputSignature:
    """Input of a classifier; −1 in `shape` is a free side."""

    name: str
    type: str
    layout: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class ShippedModel:
    """Model file of a bundle; unknown values are None.

    Attributes:
        web: address in the page; "" if the page does not offer the file.
        ir, opset, ort: versions of IR, operators and .ort format that a runtime must know; 0 if the format
            has no such version.
        latency: p50 and p90 in ms, threads and samples, as bench measured them; None if they are void.
        made_for, faster: facts about an INT8 file, see `int8_facts`.
        finetuned: duration of the fine-tuning for INT8, such as "2 epochs".
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
    """Facts that `kdtool quantize` recorded about the INT8 file of `role`.

    Returns:
        The processor, as `kdtool quantize --target` calls it; and True if INT8 was worth it on the machine
        that made the file. None is unknown: the speed of a file for another processor is not measured.
    """
    manifest = read_manifest(run.quantize_manifest(role))
    if manifest is None:
        return None, None
    recipe, speed = manifest.result.get("recipe") or {}, manifest.result.get("speed")
    return recipe.get("target"), speed["ci"][0] >= INT8_WORTH_IT if speed else None


def describe(kind: Kind, session: OnnxSession, about: About, run: RunFolder, role: str) -> ShippedModel:
    """Describe the model file of `session`, with the accuracy and latency that bench measured for it."""
    content = session.path.read_bytes()
    versions = onnx_versions(content) if session.path.suffix == ".onnx" else ort_versions(content)
    made_for, faster = int8_facts(run, role) if kind.name == "int8" else (None, None)
    spec = session.input
    shape = tuple(-1 if side is None else side for side in spec.shape)
    digest = sha256_bytes(content)
    row = about.bench_row(digest, role, kind.name)
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
