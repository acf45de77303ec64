"""The gate on the health of trained networks: nothing that is of no use is exported, measured or shipped.

Training writes a fault and its cause into the manifest of the network (`kdtool.train.health`), and the bench
one into bench.json. The later stages of a run refuse a teacher or student with a fault. A baseline and a
probe are only compared with, so theirs are only said.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

from kdtool.core.errors import GateError
from kdtool.core.spelling import argument, assigned
from kdtool.recipe.choices import SCRATCH
from kdtool.recipe.settings import StudentSettings, TeacherSettings
from kdtool.results.bench import BenchResult
from kdtool.runs.folder import RunFolder
from kdtool.runs.stage import Manifest, read_manifest

GATED = ("teacher", "student")
NO_USE = "Do not ship it. Look at its mistakes in the report, and at the photographs: kdtool data check DATA"


class Cause(StrEnum):
    """Why a trained network is of no use."""

    LEARNED_NOTHING = "it learned nothing"
    EVALUATION_MODE = "evaluation mode is broken: the statistics of its normalization are wrong"
    OTHER_PHOTOGRAPHS = "it knows the training photographs alone"


def require_sound(run: RunFolder) -> None:
    """Check the teacher and the student of a run.

    Raises:
        GateError: one of them has a fault.
    """
    for role in GATED:
        require_sound_network(run.weights(role), role)


def require_sound_network(file: Path, role: str) -> None:
    """Check the network in `file` by the manifest beside it.

    Raises:
        GateError: it has a fault.
    """
    found = fault_in(file, role)
    if found is not None:
        raise GateError(*found)


def fault_in(file: Path, role: str) -> tuple[str, str] | None:
    """Say what is wrong with the network in `file`, and what mends it; None if it is sound or unknown."""
    manifest = read_manifest(file.parent / "manifest.json")
    if manifest is None or "fault" not in manifest.result:
        return None
    cause = manifest.result.get("cause", "")
    because = f" ({cause})" if cause else ""
    problem = f"{file}: the {role} is of no use: {manifest.result['fault']}{because}."
    return problem, _mend(role, manifest, cause)


def faults_in(result: BenchResult, roles: Sequence[str] = GATED) -> list[str]:
    """List what is wrong with the answers of models to the test images."""
    return [f"{model.name}: {model.fault}" for model in result.models if model.fault and model.role in roles]


def require_sound_results(result: BenchResult, path: Path, roles: Sequence[str] = GATED) -> None:
    """Check the answers of the models of these roles to the test images.

    Raises:
        GateError: the answers of a model are of no use.
    """
    faults = faults_in(result, roles)
    if faults:
        raise GateError(
            "\n".join([f"{path}: a model is of no use on the test images.", *(f"  {one}" for one in faults)]),
            NO_USE,
        )


def _mend(role: str, manifest: Manifest, cause: str) -> str:
    settings = manifest.inputs.get("settings", {})  # without those that have the default
    defaults = TeacherSettings() if role == "teacher" else StudentSettings()
    lr, batch = settings.get("lr", defaults.lr), settings.get("batch_size", defaults.batch_size)
    pretrained = settings.get("weights", defaults.weights) != SCRATCH
    if not settings or "epochs" not in manifest.result:  # a probe, or the copy of a trained file
        return "Choose another network, other weights, or look at the photographs: kdtool data check DATA"
    place = f"in a new {argument('out')}"
    if cause == Cause.EVALUATION_MODE:
        frozen = assigned({f"{role}.freeze_norm": True})
        steps = assigned({f"{role}.batch_size": max(8, batch // 2)})
        keep = f", or keep the statistics of the weights: {frozen}" if pretrained else ""
        return f"Train more epochs, or more steps in each, {place}: {steps}{keep}"
    if cause == Cause.OTHER_PHOTOGRAPHS:
        views = assigned({f"{role}.augment.crop": 0.35, f"{role}.augment.flip": True})
        return (
            "Check that both splits show the same classes: kdtool data check DATA. More photographs help, "
            f"and augmentation, {place}: {views}"
        )
    weights = assigned({f"{role}.weights": "imagenet"})
    start = "" if pretrained else f", or from pretrained weights: {weights}"
    return f"Train more epochs, or {place} at another learning rate: {_rate(role, lr)}{start}"


def _rate(role: str, lr: float) -> str:
    return " or ".join(assigned({f"{role}.lr": f"{value:g}"}) for value in (lr / 10, 3 * lr))
