"""Training of a caller's network on the caller's batches."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kdtool.api.training.criteria import LossArguments, criteria_of, logits_of, require_logits
from kdtool.api.training.loader import Loader, open_loader
from kdtool.arch.network import load_state, two_heads
from kdtool.core.errors import Interrupted, UsageError
from kdtool.core.files import sha256_bytes, sha256_json, write_json
from kdtool.core.screen import Screen
from kdtool.machine.launch import process_count
from kdtool.machine.threads import usable_threads
from kdtool.runs.lock import run_lock
from kdtool.train.loop.checkpoint import Checkpoints, Progress, serialized
from kdtool.train.loop.criterion import Criterion, CrossEntropy, Sum
from kdtool.train.loop.evaluate import evaluate
from kdtool.train.loop.fit import fit
from kdtool.train.loop.optimizer import Optimization
from kdtool.train.stage import HISTORY, write_history
from kdtool.train.teaching.features import FeatureDistillation, OnlineTeacher
from kdtool.train.together.processes import processes
from kdtool.train.views.batch import ONE_PROCESS, Batch

RECORD = "distill.json"  # inputs that determine the training in a folder


def train_network(
    student: nn.Module,
    teacher: nn.Module | None,
    batches: Mapping[str, Iterable[Any]],
    loss_arguments: LossArguments,
    optimization: Optimization,
    folder: Path | None,
    screen: Screen,
) -> tuple[Progress, float | None]:
    """Train the student in place; it ends in eval mode, with its best weights, on its first device.

    Args:
        batches: batches of the splits train and validation.
        folder: folder for checkpoints, record and history; None writes nothing.

    Returns:
        The progress, and the teacher's accuracy on the validation split.

    Raises:
        UsageError: an argument of `kdtool.distill` is wrong, or `folder` holds another training.
        GateError, Interrupted: see `kdtool.train.loop.fit.fit`.
    """
    _require_networks(student, teacher)
    device, seed = processes().device, loss_arguments.seed
    with ExitStack() as after:
        if folder is not None:
            after.enter_context(run_lock(folder))
        after.enter_context(torch.random.fork_rng(devices=[]))
        after.callback(torch.set_num_threads, torch.get_num_threads())
        torch.set_num_threads(usable_threads())
        after.callback(student.to, next(student.parameters()).device)
        student.to(device)
        loaders, first_batches = _open_batches(student, batches, seed, device)
        accuracy, criterion = None, CrossEntropy(loss_arguments.label_smoothing)
        criteria: dict[str, Criterion] = {"train": criterion, "validation": criterion}
        after.callback(_watch_output(student, has_teacher=teacher is not None))
        if teacher is not None:
            teacher_copy = _copy(teacher, loss_arguments.teacher_input).to(device)
            first = first_batches["train"]
            _require_classes(logits_of("teacher", teacher_copy, first.images), loaders["train"].classes)
            torch.manual_seed(seed)  # for the new layers of a loss
            terms = criteria_of(loss_arguments, student, OnlineTeacher(teacher_copy), first)
            after.callback(_close, terms)
            criteria = {"train": Sum(*terms), "validation": terms[0]}
            accuracy = evaluate(teacher_copy, loaders["validation"], CrossEntropy(), device).accuracy
        key = ""
        if folder is not None:
            inputs = _inputs(student, teacher, loaders, first_batches, loss_arguments, optimization)
            key = _claim(folder, inputs)
        checkpoints = Checkpoints(folder and folder / "checkpoints", key, screen)
        title = "train" if teacher is None else "distill"
        try:
            best, progress = fit(title, student, loaders, criteria, optimization, seed, checkpoints, screen)
        except Interrupted as interrupt:
            raise _with_hint(interrupt, title, folder) from interrupt
        load_state(student, best)
        student.eval()
        if folder is not None:
            write_history(folder / HISTORY, progress)
            checkpoints.settle()
    return progress, accuracy


def _require_networks(student: nn.Module, teacher: nn.Module | None) -> None:
    for field, network in (("student", student), ("teacher", teacher)):
        if not isinstance(network, nn.Module) and (field, network) != ("teacher", None):
            raise UsageError(f"{field} is of type {type(network).__name__}; allowed: a torch.nn.Module.")
    if process_count() > 1:
        raise UsageError(
            f"kdtool.distill is called in {process_count()} processes; allowed is one.",
            "Start Python without torchrun or accelerate launch.",
        )
    if not any(parameter.requires_grad for parameter in student.parameters()):
        raise UsageError(
            "student has no parameters to train.", "Set requires_grad of the parameters to train."
        )


def _open_batches(
    student: nn.Module, batches: Mapping[str, Iterable[Any]], seed: int, device: torch.device
) -> tuple[dict[str, Loader], dict[str, Batch]]:
    """Return the loader and the first batch of each split; the student is tried on the first batches."""
    loaders = {field: open_loader(field, split, seed) for field, split in batches.items()}
    first_batches = {
        field: next(loader.epoch(0, 0, device, ONE_PROCESS)) for field, loader in loaders.items()
    }
    logits = [logits_of("student", student, batch.images) for batch in first_batches.values()]
    loaders = {field: replace(loader, classes=logits[0].shape[1]) for field, loader in loaders.items()}
    for field, batch in first_batches.items():
        loaders[field].require_classes(batch.target, 0)
    return loaders, first_batches


def _watch_output(student: Any, *, has_teacher: bool) -> Callable[[], None]:
    """Check the output of the student in each step; return a function that ends this.

    A student with a distillation token is not checked if it has a teacher: it returns the logits of both
    heads in training, until the returned function is called.
    """
    if has_teacher and two_heads(student):
        return partial(student.set_distilled_training, False)
    remove: Callable[[], None] = student.register_forward_hook(_require_logits).remove
    return remove


def _require_logits(student: nn.Module, inputs: Any, output: Any) -> None:  # noqa: ARG001 (a hook's arguments)
    require_logits("student", output, len(inputs[0]))


def _require_classes(logits: Tensor, classes: int) -> None:
    if logits.shape[1] != classes:
        raise UsageError(
            f"student returns {classes} logits for an image, teacher {logits.shape[1]}; allowed: one for "
            "each class from both networks, in the same order.",
            "The last layer of both networks needs one output for each class.",
        )


def _copy(teacher: nn.Module, teacher_input: Callable[[Tensor], Tensor] | None) -> nn.Module:
    """Return a copy of the teacher in eval mode that applies `teacher_input` to its images."""
    teacher_copy = copy.deepcopy(teacher).eval()
    if teacher_input is not None:
        teacher_copy.register_forward_pre_hook(lambda _, inputs: (teacher_input(*inputs),))
    return teacher_copy


def _close(terms: Iterable[nn.Module]) -> None:
    for term in terms:
        if isinstance(term, FeatureDistillation):
            term.close()


def _inputs(
    student: nn.Module,
    teacher: nn.Module | None,
    loaders: Mapping[str, Loader],
    first_batches: Mapping[str, Batch],
    loss_arguments: LossArguments,
    optimization: Optimization,
) -> dict[str, Any]:
    """Return the inputs that determine the weights, by argument name; first batches identify the data."""
    batches = {
        field: sha256_json([len(loaders[field]), list(batch.images.shape), batch.target.tolist()])
        for field, batch in first_batches.items()
    }
    networks = {"student": _digest(student), "teacher": None if teacher is None else _digest(teacher)}
    inputs = {**networks, **batches, **asdict(optimization), **loss_arguments.described()}
    if optimization.schedule == "constant":
        del inputs["epochs"]  # such a training can be extended
    return inputs


def _digest(network: nn.Module) -> str:
    return sha256_bytes(serialized(network.state_dict()))


def _claim(folder: Path, inputs: Mapping[str, Any]) -> str:
    """Return the key of the training of `inputs`; record `inputs` in `folder` if it has no record.

    Raises:
        UsageError: the folder holds another training.
    """
    record = folder / RECORD
    try:
        recorded = json.loads(record.read_bytes())
    except FileNotFoundError:
        write_json(record, inputs)
        return sha256_json(inputs)
    different = [name for name in inputs if recorded.get(name) != inputs[name]]
    if different:
        raise UsageError(
            f"out: {folder} holds another training; different: {', '.join(different)}.",
            "Name another folder or remove this one. kdtool compares the initial weights of the student: to "
            "continue a training, build the student again after the same torch.manual_seed.",
        )
    return sha256_json(inputs)


def _with_hint(interrupt: Interrupted, title: str, folder: Path | None) -> Interrupted:
    number = interrupt.exit_code - 128
    if folder is None:
        return Interrupted(
            number, f"{title}: stopped; out is None, so nothing is saved.", "Name a folder: out=…"
        )
    return Interrupted(number, interrupt.message, "To continue, build the student again and repeat the call.")
