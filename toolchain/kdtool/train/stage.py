"""The training stages: teach, and distill (or its baseline), each from typed inputs to a folder."""

from __future__ import annotations

import csv
import inspect
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from kdtool.arch.network import (
    IMAGENET,
    SCRATCH,
    build,
    load_network,
    parameter_count,
    save_network,
)
from kdtool.core.errors import ModelFileError
from kdtool.core.files import sha256_file, sha256_json, write_text
from kdtool.core.manifest import Manifest, Stage
from kdtool.core.modelinfo import ModelInfo
from kdtool.core.recipe import LossSettings, NetworkSettings, StudentSettings
from kdtool.core.run import RunFolder
from kdtool.core.screen import Screen
from kdtool.core.threads import usable_threads
from kdtool.core.versions import versions_of
from kdtool.data.reader import Prepared
from kdtool.losses import logit_loss
from kdtool.train.checkpoint import Checkpoints, Progress
from kdtool.train.curves import curves_png
from kdtool.train.fit import Objective, Task, fit, objective_ce
from kdtool.train.order import Indices
from kdtool.train.softlabels import SoftLabels, label

WEIGHTS, HISTORY, CURVES = "model.safetensors", "history.csv", "curves.png"
HIGH_TEMPERATURE = 2.0


def teach(
    run: RunFolder, prepared: Prepared, settings: NetworkSettings, seed: int, screen: Screen
) -> Manifest:
    """Fine-tune (or train) the teacher with cross-entropy into `run.role("teacher")`."""
    objective = objective_ce(settings.label_smoothing)
    return _train(
        run, "teacher", prepared, settings, seed, {}, {"train": objective, "validation": objective}, screen
    )


def bring_teacher(run: RunFolder, prepared: Prepared, file: Path, screen: Screen) -> Manifest:
    """Use a trained teacher from elsewhere.

    Raises:
        ModelFileError: not a kdtool model, or made for other classes or another input.
    """
    network, info = load_network(file)
    _require_fit(info, prepared, file)
    stage = Stage("teach", run.role("teacher"), {"file": sha256_file(file), "data": prepared.digest})
    manifest = stage.complete()
    if manifest is not None:
        screen.say("teacher: complete, skipped.")
        return manifest
    stage.reopen()
    save_network(
        run.weights("teacher"), network.state_dict(), ModelInfo(**{**info.__dict__, "role": "teacher"})
    )
    screen.say(f"teacher: {info.arch} taken from {file}.")
    return stage.seal([WEIGHTS], {"arch": info.arch, "brought": True}, versions_of())


def distill(
    run: RunFolder, role: str, prepared: Prepared, settings: StudentSettings, seed: int, screen: Screen
) -> Manifest:
    """Train the student with the teacher's answers, or with role `baseline` the same without them.

    The objective of the student is ce_weight · CE + weight · loss(student, teacher); the baseline
    has the same network, initial weights, order, optimizer and budget, and cross-entropy alone.
    """
    if role == "baseline":
        objective = objective_ce(settings.label_smoothing)
        objectives = {"train": objective, "validation": objective}
        return _train(run, role, prepared, settings, seed, {}, objectives, screen)
    loss = logit_loss(
        settings.loss.name, settings.loss.params
    )  # a wrong field must not cost a teacher's pass
    teacher, info = load_network(run.weights("teacher"))
    _require_fit(info, prepared, run.weights("teacher"))
    temperature = inspect.signature(loss).parameters["temperature"].default
    if info.label_smoothing > 0 and temperature > HIGH_TEMPERATURE:
        screen.warn(
            f"The teacher was trained with label smoothing {info.label_smoothing} and the temperature is "
            f"{temperature}: a smoothed teacher has lost the relations between classes that a high "
            f"temperature looks for. Try --set student.loss.temperature=1."
        )
    soft_labels = label(teacher, info, run.weights("teacher"), prepared, run.soft_labels, screen)
    objectives = {
        split: _distillation(settings.loss, settings.label_smoothing, soft_labels, split)
        for split in ("train", "validation")
    }
    parents = {"soft_labels": soft_labels.digest, "loss": settings.loss.model_dump(mode="json")}
    return _train(run, role, prepared, settings, seed, parents, objectives, screen)


def stage_of(
    run: RunFolder,
    role: str,
    prepared: Prepared,
    settings: NetworkSettings,
    seed: int,
    parents: Mapping[str, Any],
) -> Stage:
    """The stage that trains `role`: what its result is a function of."""
    own = settings.model_dump(mode="json", exclude={"loss"})
    if settings.weights not in (IMAGENET, SCRATCH):
        own["weights"] = (
            sha256_file(Path(settings.weights)) if Path(settings.weights).is_file() else "missing"
        )
    name = "teach" if role == "teacher" else "distill"
    return Stage(name, run.role(role), {"settings": own, "seed": seed, "data": prepared.digest, **parents})


def _train(
    run: RunFolder,
    role: str,
    prepared: Prepared,
    settings: NetworkSettings,
    seed: int,
    parents: Mapping[str, Any],
    objectives: Mapping[str, Objective],
    screen: Screen,
) -> Manifest:
    stage = stage_of(run, role, prepared, settings, seed, parents)
    manifest = stage.complete()
    if manifest is not None:
        accuracy = manifest.result["validation_accuracy"]
        screen.say(f"{role}: complete, skipped ({settings.arch}, validation accuracy {accuracy:.2%}).")
        return manifest
    torch.set_num_threads(usable_threads())
    torch.manual_seed(seed)
    network = build(settings.arch, len(prepared.classes), prepared.preprocess.size, settings.weights)
    stage.reopen()
    checkpoints = Checkpoints(stage.folder / "checkpoints", _key_but_epochs(stage), screen)
    train, validation = (
        Task(prepared.split(split), objectives[split], prepared.preprocess)
        for split in ("train", "validation")
    )
    best, progress = fit(role, network, train, validation, settings, seed, checkpoints, screen)
    _write_history(stage.folder / HISTORY, progress)
    curves_png(stage.folder / HISTORY, stage.folder / CURVES, f"{role}: {settings.arch}")
    info = ModelInfo(
        role=role,
        arch=settings.arch,
        classes=prepared.classes,
        preprocess=prepared.preprocess,
        label_smoothing=settings.label_smoothing,
        params=parameter_count(network),
    )
    save_network(stage.folder / WEIGHTS, best, info)
    row = progress.rows[progress.best_epoch]
    accuracy, epoch = row["validation_accuracy"], int(row["epoch"])
    result = {
        "arch": settings.arch,
        "validation_accuracy": accuracy,
        "best_epoch": epoch,
        "epochs": len(progress.rows),
    }
    early = "" if len(progress.rows) == settings.epochs else f", stopped after {len(progress.rows)} epochs"
    screen.say(f"{role}: {settings.arch}, validation accuracy {accuracy:.2%} in epoch {epoch}{early}.")
    return stage.seal([WEIGHTS, HISTORY, CURVES], result, versions_of())


def _distillation(
    settings: LossSettings, label_smoothing: float, soft_labels: SoftLabels, split: str
) -> Objective:
    """The objective of `LossSettings`, the teacher's logits looked up by index."""
    loss = logit_loss(settings.name, settings.params)
    teacher_logits = torch.from_numpy(soft_labels.logits[split])

    def objective(logits: Tensor, target: Tensor, indices: Indices, epoch: int) -> Tensor:
        teacher = teacher_logits[indices, 0].to(logits.device)
        hard = F.cross_entropy(logits.float(), target, label_smoothing=label_smoothing)
        soft: Tensor = loss(logits.float(), teacher, target)
        return settings.ce_weight * hard + settings.weight * settings.warm(epoch) * soft

    return objective


def _require_fit(info: ModelInfo, prepared: Prepared, file: Path) -> None:
    """The teacher must have the data's classes in the data's order, and look at the same pixels."""
    if info.classes != prepared.classes:
        both = set(info.classes) == set(prepared.classes)
        what = "in another order" if both else f"{sorted(set(info.classes) ^ set(prepared.classes))} differ"
        raise ModelFileError(
            f"{file}: its {len(info.classes)} classes are not the {len(prepared.classes)} of the data "
            f"({what}).",
            "Train a teacher on these photographs: kdtool teach DATA",
        )
    own, data = info.preprocess, prepared.preprocess
    if own.geometry != data.geometry:
        raise ModelFileError(
            f"{file}: it looks at {own.size} pixels (resize {own.resize}, {own.interpolation}), the data is "
            f"prepared at {data.size} (resize {data.resize}, {data.interpolation}).",
            f"Prepare the data alike: --set data.size={own.size} --set data.resize={own.resize}",
        )


def _key_but_epochs(stage: Stage) -> str:
    """What a checkpoint must share to be resumed: everything but how long to go on."""
    settings = {name: value for name, value in stage.inputs["settings"].items() if name != "epochs"}
    return sha256_json({**stage.inputs, "settings": settings})


def _write_history(path: Path, progress: Progress) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(progress.rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: f"{value:.6g}" for name, value in row.items()} for row in progress.rows)
    write_text(path, text.getvalue())
