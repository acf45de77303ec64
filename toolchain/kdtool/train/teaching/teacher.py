"""The teacher: trained by kdtool or copied from a file, and opened for distillation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import nn

from kdtool.arch.network import load_network, save_network
from kdtool.arch.smallmaps import speed_up_small_maps
from kdtool.core.files import sha256_file
from kdtool.core.modelinfo import ModelInfo
from kdtool.core.screen import Screen
from kdtool.data.reader import Prepared
from kdtool.machine.packages import versions_of
from kdtool.recipe.choices import Trained
from kdtool.recipe.settings import TeacherSettings
from kdtool.runs.folder import RunFolder
from kdtool.runs.soundness import require_sound_network
from kdtool.runs.stage import Manifest, Stage, intact, read_manifest
from kdtool.train.health import evaluated
from kdtool.train.loop.evaluate import Evaluation
from kdtool.train.probe import Probe, probe
from kdtool.train.settings import settings_inputs
from kdtool.train.stage import WEIGHTS, Training, cross_entropy, require_fit, train
from kdtool.train.together.processes import processes
from kdtool.train.views.batch import plain_examples
from kdtool.train.views.batches import InOrder


@dataclass(frozen=True)
class Teacher:
    """Trained teacher: its file, its network in eval mode, and its record."""

    file: Path
    network: nn.Module
    info: ModelInfo

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file."""
        return sha256_file(self.file)


def open_teacher(run: RunFolder, prepared: Prepared) -> Teacher:
    """Open the teacher of the run.

    Raises:
        ModelFileError: the file is damaged or does not fit the data.
    """
    file = run.weights("teacher")
    network, info = load_network(file)
    require_fit(info, prepared, file)
    return Teacher(file, speed_up_small_maps(network).to(memory_format=torch.channels_last), info)


def teach(
    run: RunFolder,
    prepared: Prepared,
    settings: TeacherSettings,
    seed: int,
    screen: Screen,
) -> Manifest:
    """Train the teacher with cross-entropy into `run.role("teacher")`, or copy a trained one.

    A teacher that starts from weights starts from its linear probe; if only its head is trained, the probe is
    the teacher.

    Raises:
        GateError: the teacher is of no use; its weights are kept.
    """
    manifest = _teach(run, prepared, settings, seed, screen)
    require_sound_network(run.weights("teacher"), "teacher")
    return manifest


def _teach(
    run: RunFolder, prepared: Prepared, settings: TeacherSettings, seed: int, screen: Screen
) -> Manifest:
    if settings.trained:
        return copy_teacher(run, prepared, Path(settings.trained), screen)
    folder = run.role("teacher")
    start = probe(folder / "probe", "teacher", prepared, settings, screen)
    if start is not None and settings.train is Trained.HEAD:
        return _keep_probe(run, prepared, settings, start)
    training = Training("teacher", folder, settings, seed, seed, start=start)
    return train(prepared, training, cross_entropy(settings, prepared), screen)


def _keep_probe(run: RunFolder, prepared: Prepared, settings: TeacherSettings, start: Probe) -> Manifest:
    """Make the probe the teacher."""
    inputs = {"settings": settings_inputs(settings), "probe": start.digest, "data": prepared.digest}
    stage = Stage("teach", run.role("teacher"), inputs)

    def keep() -> Manifest:
        manifest = stage.complete()
        if manifest is not None:
            return manifest
        network, info = load_network(start.file)
        stage.reopen()
        save_network(run.weights("teacher"), network.state_dict(), replace(info, role="teacher"))
        result = {"arch": info.arch, "validation_accuracy": start.accuracy, "probe": start.accuracy}
        result |= {"fault": fault} if (fault := start.manifest.result.get("fault")) else {}
        return stage.seal([WEIGHTS], result, versions_of())

    return processes().once(keep)


def copy_teacher(run: RunFolder, prepared: Prepared, file: Path, screen: Screen) -> Manifest:
    """Copy a trained teacher from `file` into the run; afterwards the run does not need `file`.

    Raises:
        ModelFileError: `file` is not a kdtool model, or it is for other classes or another input.
    """
    group = processes()
    manifest = group.once(lambda: _earlier_copy(run, prepared, file))
    if manifest is not None:
        screen.say("teacher: complete, skipped (copy of a trained file).")
        return manifest
    group.once(lambda: require_fit(load_network(file)[1], prepared, file))
    network, info = load_network(file)
    data = InOrder(plain_examples(prepared, "validation", info.preprocess))
    result = evaluated(network.to(memory_format=torch.channels_last), data)
    return group.once(lambda: _keep(run, prepared, file, network, info, result, screen))


def _keep(
    run: RunFolder,
    prepared: Prepared,
    file: Path,
    network: nn.Module,
    info: ModelInfo,
    evaluation: Evaluation,
    screen: Screen,
) -> Manifest:
    stage = Stage("teach", run.role("teacher"), {"file": sha256_file(file), "data": prepared.digest})
    stage.reopen()
    save_network(run.weights("teacher"), network.state_dict(), replace(info, role="teacher"))
    accuracy, fault = evaluation.accuracy, evaluation.fault(prepared.classes)
    screen.say(f"teacher: {info.arch} copied from {file}, validation accuracy {accuracy:.2%}.")
    result = {"arch": info.arch, "brought": True, "validation_accuracy": accuracy}
    result |= {"fault": fault} if fault else {}
    return stage.seal([WEIGHTS], result, versions_of())


def _earlier_copy(run: RunFolder, prepared: Prepared, file: Path) -> Manifest | None:
    """Return the manifest of an intact earlier copy of `file`; if `file` is missing now, of any file."""
    folder = run.role("teacher")
    manifest = read_manifest(folder / "manifest.json")
    if manifest is None or "file" not in manifest.inputs or not intact(folder, manifest):
        return None
    same_data = manifest.inputs["data"] == prepared.digest
    same_file = not file.is_file() or sha256_file(file) == manifest.inputs["file"]
    return manifest if same_data and same_file else None
