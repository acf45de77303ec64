"""Which model files of a run are shipped, and under which names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kdtool.core.errors import ModelFileError, UsageError
from kdtool.core.modelinfo import ModelInfo
from kdtool.runs.folder import ROLES, RunFolder
from kdtool.runs.lineage import require_current
from kdtool.runs.models import MANIFESTS, sealed_models
from kdtool.runtime.onnxbytes.stated import stated_by_onnx

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
    found = []
    for kind in KINDS:
        path = run.onnx / f"{role}{kind.suffix}"
        # Files without a manifest of their own are tried on the golden images before they are shipped.
        vouched = (role, kind.name) in sealed if kind.name in MANIFESTS else path.is_file()
        if vouched:
            found.append(Source(kind, path))
    return tuple(found)


def left_out(run: RunFolder, found: Sequence[Source]) -> str:
    """Which kinds the run does not have, and the commands that add them; "" where it has them all.

    An export takes the INT8 file of the last one away, so that quantizing comes after it.
    """
    there = {source.kind.name for source in found}
    missing = [kind for kind in KINDS if kind.name not in there]
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
    info = stated_by_onnx(source.path)
    if info is None:
        raise ModelFileError(
            f"{source.path} states neither its classes nor its preprocessing.",
            "Export it again with: kdtool export --onnx",
        )
    return info
