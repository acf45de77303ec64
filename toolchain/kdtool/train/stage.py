"""Training of one network as a stage: from prepared data to weights, history, curves and manifest."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from kdtool.arch.network import build, classifier_of, load_network, parameter_count, save_network
from kdtool.arch.pointwise import avoid_strided_pointwise
from kdtool.arch.smallmaps import speed_up_small_maps
from kdtool.core.errors import GateError, ModelFileError, UsageError
from kdtool.core.files import sha256_json, write_text
from kdtool.core.modelinfo import ModelInfo
from kdtool.core.preprocess import Preprocess
from kdtool.core.screen import Screen
from kdtool.core.spelling import argument, assigned
from kdtool.data.reader import Prepared, Split
from kdtool.machine.packages import versions_of
from kdtool.machine.threads import usable_threads
from kdtool.recipe.advice import advise_patience, advise_precision
from kdtool.recipe.choices import Balance, Trained
from kdtool.recipe.settings import AugmentSettings, NetworkSettings, section_of
from kdtool.results.history import COLUMNS, KEPT
from kdtool.runs.stage import Manifest, Stage, read_manifest
from kdtool.train.curves import curves_png
from kdtool.train.health import health
from kdtool.train.loop.checkpoint import Checkpoints, Progress
from kdtool.train.loop.criterion import Criterion, CrossEntropy
from kdtool.train.loop.fit import fit
from kdtool.train.loop.freezing import train_only
from kdtool.train.loop.memory import within_memory
from kdtool.train.loop.optimizer import Optimization
from kdtool.train.loop.precision import has_bfloat16
from kdtool.train.probe import Probe
from kdtool.train.settings import network_preprocess, settings_inputs, whole_photographs
from kdtool.train.together.processes import processes
from kdtool.train.views.augment import Augment
from kdtool.train.views.batch import Examples, plain_examples
from kdtool.train.views.batches import Batches, InOrder, Shuffled
from kdtool.train.views.order import batches

WEIGHTS, HISTORY, CURVES = "model.safetensors", "history.csv", "curves.png"
STAGE_NAMES = {"teacher": "teach"}  # role → stage; student and baseline belong to the stage distill

# Function from a new network to its criteria for the splits train and validation. It may change the output
# of the network in training, or add hooks to its modules.
Criteria = Callable[[nn.Module], Mapping[str, Criterion]]


@dataclass(frozen=True)
class Training:
    """Definition of one training.

    Attributes:
        folder: folder of the weights.
        views_seed: seed of the augmentation; students that share soft labels have the same one.
        parents: inputs of the criteria other than data and settings (JSON).
        views: number of views; None means as the settings say, 0 means a new view in each epoch.
        preprocess: preprocessing of the network; None means as its initial weights need it.
        start: probe that the network starts from; None means that it starts as `settings.weights` say.
    """

    role: str
    folder: Path
    settings: NetworkSettings
    seed: int
    views_seed: int
    parents: Mapping[str, Any] = field(default_factory=dict)
    views: int | None = None
    preprocess: Preprocess | None = None
    start: Probe | None = None

    def stage(self, prepared: Prepared) -> Stage:
        """Build the stage; its inputs are everything that determines the weights."""
        inputs = {"settings": settings_inputs(self.settings), "seed": self.seed, "data": prepared.digest}
        if self.settings.augment.active and self.views_seed != self.seed:
            inputs["views_seed"] = self.views_seed
        if prepared.balance is not Balance.NONE:
            inputs["balance"] = prepared.balance.value
        inputs |= whole_photographs(prepared, self.settings)
        preprocess = self.preprocess_of(prepared)
        if preprocess != prepared.preprocess:
            inputs["normalization"] = [list(preprocess.mean), list(preprocess.std)]
        if self.start is not None:
            inputs["probe"] = self.start.digest
        return Stage(STAGE_NAMES.get(self.role, "distill"), self.folder, {**inputs, **self.parents})

    def preprocess_of(self, prepared: Prepared) -> Preprocess:
        """Preprocessing of the network in training, and in its file."""
        return self.preprocess or network_preprocess(prepared, self.settings)

    def finished(self, prepared: Prepared, screen: Screen) -> Manifest | None:
        """Return the manifest if the training is complete, and say so on the screen; otherwise None."""
        manifest = processes().once(self.stage(prepared).complete)
        if manifest is not None:
            accuracy = manifest.result["validation_accuracy"]
            screen.say(
                f"{self.role}: complete, skipped ({self.settings.arch}, validation accuracy {accuracy:.2%})."
            )
        return manifest


def cross_entropy(settings: NetworkSettings, prepared: Prepared) -> Criteria:
    """Criteria that use only the labels."""
    train = CrossEntropy(settings.label_smoothing, prior_of(prepared))
    validation = CrossEntropy(settings.label_smoothing)
    return lambda _: {"train": train, "validation": validation}


def prior_of(prepared: Prepared) -> npt.NDArray[np.float64] | None:
    """Frequencies of the classes in training (K,), for logit adjustment; None without it."""
    if prepared.balance is not Balance.LOGITS:
        return None
    labels = prepared.split("train").labels
    counts = np.bincount(labels[labels >= 0], minlength=len(prepared.classes))
    prior: npt.NDArray[np.float64] = np.maximum(counts, 1) / counts.sum()
    return prior


def training_examples(
    prepared: Prepared,
    settings: NetworkSettings,
    seed: int,
    views: int | None = None,
    preprocess: Preprocess | None = None,
) -> Examples:
    """Return the training split, augmented as `settings` say; `views` replaces their number of views."""
    split, seen = prepared.split("train"), settings.seen_views if views is None else views
    augment = augment_of(settings.augment, split, seed, balanced=prepared.balance is Balance.SAMPLE)
    return Examples(split, len(prepared.classes), preprocess or prepared.preprocess, augment, seen)


def augment_of(settings: AugmentSettings, split: Split, seed: int, balanced: bool = False) -> Augment | None:
    """Build the augmentation of `settings`; None if they change nothing."""
    return Augment(split, seed, **settings.model_dump(), balanced=balanced) if settings.active else None


def optimization_of(settings: NetworkSettings) -> Optimization:
    """Copy the settings of the optimization as plain values."""
    values = {field.name: getattr(settings, field.name) for field in fields(Optimization)}
    return Optimization(**values | {"freeze_norm": settings.freezes_norm})


def train(prepared: Prepared, training: Training, criteria: Criteria, screen: Screen) -> Manifest:
    """Train a network with `criteria` into `training.folder`; skipped if the training is complete.

    Raises:
        GateError, Interrupted: see `kdtool.train.loop.fit.fit`; a checkpoint keeps the finished steps.
        UsageError: there are more processes than images in a batch.
        SetupError: memory does not suffice for a batch of two images.
    """
    manifest = training.finished(prepared, screen)
    if manifest is not None:
        return manifest
    group, stage = processes(), training.stage(prepared)
    role, settings = training.role, training.settings
    _advise(role, settings, screen)
    _require_shares(prepared, training, group.count)
    torch.set_num_threads(usable_threads())
    _say_if_trained_again(stage, training, screen)
    group.once(stage.reopen)
    key = _resumable_key(stage, training)
    preprocess = training.preprocess_of(prepared)
    examples = training_examples(prepared, settings, training.views_seed, training.views, preprocess)
    validation = InOrder(plain_examples(prepared, "validation", preprocess))

    def attempt(batch_size: int) -> Manifest:
        torch.manual_seed(training.seed)
        network = _initial(training, len(prepared.classes), preprocess.size)
        by_split = criteria(network)
        batch_key = key if batch_size == settings.batch_size else f"{key}-{batch_size}"
        checkpoints = Checkpoints(stage.folder / "checkpoints", batch_key, screen)
        used = settings.model_copy(update={"batch_size": batch_size})
        sampled = prepared.balance is Balance.SAMPLE
        shuffled = Shuffled(examples, batch_size, training.seed, sampled)
        data: dict[str, Batches] = {"train": shuffled, "validation": validation}
        avoid_strided_pointwise(speed_up_small_maps(network)).to(memory_format=torch.channels_last)
        try:
            best, progress = fit(
                role, network, data, by_split, optimization_of(used), training.seed, checkpoints, screen
            )
        except GateError as error:
            lower = assigned({f"{section_of(role)}.lr": f"{settings.lr / 10:g}"})
            raise GateError(error.message, f"{error.hint} In a new {argument('out')}: {lower}") from error
        found = health(network, best, validation, prepared, progress, screen)
        info = ModelInfo(
            role=role,
            arch=settings.arch,
            classes=prepared.classes,
            preprocess=preprocess,
            label_smoothing=settings.label_smoothing,
            params=parameter_count(network),
        )
        result = {**_result(used, progress), **found}
        return group.once(lambda: _seal(stage, best, info, progress, result, checkpoints))

    if group.count == 1:
        manifest = within_memory(role, attempt, settings.batch_size, stage.folder, key, screen)
    else:  # a process that ran out of memory alone would leave the others waiting
        manifest = attempt(settings.batch_size)
    accuracy, epochs = manifest.result["validation_accuracy"], manifest.result["epochs"]
    early = "" if epochs == settings.epochs else f", stopped after {epochs} epochs"
    screen.say(
        f"{role}: {settings.arch}, validation accuracy {accuracy:.2%} in epoch "
        f"{manifest.result['best_epoch']}{early}."
    )
    return manifest


def _initial(training: Training, classes: int, size: int) -> nn.Module:
    """Build the network as it is before the first step; frozen parts get no gradient.

    Raises:
        UsageError: only the head shall be trained, and the network has no head that can be.
    """
    settings, section = training.settings, section_of(training.role)
    if training.start is not None:
        network = load_network(training.start.file)[0]
    else:
        network = build(settings.arch, classes, size, settings.weights, section)
    if settings.train is Trained.HEAD:
        head = classifier_of(network, settings.arch, classes, size)
        if head is None:
            raise UsageError(
                f"{section}.train is 'head', but {settings.arch} has no single linear layer as its head; "
                "allowed: 'all'.",
                assigned({f"{section}.train": "all"}),
            )
        train_only(network, head)
    return network


def _advise(role: str, settings: NetworkSettings, screen: Screen) -> None:
    section = section_of(role)
    patience = advise_patience(section, settings.schedule, settings.patience, settings.epochs)
    precision = advise_precision(section, settings.precision, has_bfloat16(processes().device))
    for advice in (patience, precision):
        if advice:
            screen.warn(advice)


def _seal(
    stage: Stage,
    best: Mapping[str, Tensor],
    info: ModelInfo,
    progress: Progress,
    result: Mapping[str, Any],
    checkpoints: Checkpoints,
) -> Manifest:
    """Write the files of the finished training, the manifest last."""
    write_history(stage.folder / HISTORY, progress)
    curves_png(stage.folder / HISTORY, stage.folder / CURVES, f"{info.role}: {info.arch}")
    save_network(stage.folder / WEIGHTS, best, info)
    checkpoints.settle()
    return stage.seal([WEIGHTS, HISTORY, CURVES], result, versions_of())


def _require_shares(prepared: Prepared, training: Training, processes: int) -> None:
    """Refuse more processes than images in the smallest batch."""
    settings = training.settings
    smallest = min(map(len, batches(prepared.counts["train"], settings.batch_size, training.seed, 0)))
    if smallest < processes:
        section = section_of(training.role)
        raise UsageError(
            f"{section}.batch_size is {settings.batch_size} ({smallest} images in the smallest batch), for "
            f"{processes} processes; allowed: at least one image of each batch for each process.",
            f"Start fewer processes, or {assigned({f'{section}.batch_size': max(2, 2 * processes)})}",
        )


def require_fit(info: ModelInfo, prepared: Prepared, file: Path) -> None:
    """Check that a teacher has the classes of the data, in the same order, and the same image geometry.

    Raises:
        ModelFileError: classes or geometry differ.
    """
    if info.classes != prepared.classes:
        different = sorted(set(info.classes) ^ set(prepared.classes))
        problem = f"{different} differ" if different else "in another order"
        raise ModelFileError(
            f"{file}: its {len(info.classes)} classes are not the {len(prepared.classes)} classes of the "
            f"data ({problem}).",
            "Train a teacher on these photographs: kdtool teach DATA",
        )
    model, data = info.preprocess, prepared.preprocess
    if model.geometry != data.geometry:
        raise ModelFileError(
            f"{file}: its input has {model.size} pixels (resize {model.resize}, {model.interpolation}), the "
            f"data is prepared with {data.size} pixels (resize {data.resize}, {data.interpolation}).",
            f"Prepare the data alike: {assigned({'data.size': model.size, 'data.resize': model.resize})}",
        )


def _resumable_key(stage: Stage, training: Training) -> str:
    """Hash of the inputs that must be equal to resume a checkpoint.

    The number of epochs is left out if the learning rate is constant. With a falling learning rate another
    number of epochs is another training.
    """
    inputs = dict(stage.inputs)
    if training.settings.schedule == "constant":
        inputs["settings"] = {name: value for name, value in inputs["settings"].items() if name != "epochs"}
    return sha256_json(inputs)


def _say_if_trained_again(stage: Stage, training: Training, screen: Screen) -> None:
    """Say that a network with another number of epochs is trained again, if its learning rate falls."""
    finished = read_manifest(stage.manifest_path)
    if finished is None or training.settings.schedule == "constant":
        return
    epochs = finished.inputs.get("settings", {}).get("epochs")
    if epochs != training.settings.epochs:
        screen.say(
            f"{training.role}: trained again from the start; a training with a falling learning rate cannot "
            "be extended."
        )


def _result(settings: NetworkSettings, progress: Progress) -> dict[str, Any]:
    row = progress.rows[progress.best_epoch]
    return {
        "arch": settings.arch,
        "validation_accuracy": row["validation_accuracy"],
        "validation_balanced_accuracy": row.get("validation_balanced_accuracy"),
        "best_epoch": int(row["epoch"]),
        "epochs": len(progress.rows),
        "batch_size": settings.batch_size,
    }


def write_history(path: Path, progress: Progress) -> None:
    """Write one row for each epoch, in the format that `kdtool.results.history` reads."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=[*COLUMNS, KEPT], lineterminator="\n")
    writer.writeheader()
    for index, row in enumerate(progress.rows):
        figures = {**row, KEPT: float(index == progress.best_epoch)}
        writer.writerow({name: f"{value:.6g}" for name, value in figures.items()})
    write_text(path, text.getvalue())
