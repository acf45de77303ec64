"""The training of a network that a caller brings, on batches that the caller brings."""

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

from kdtool.api.training.criteria import Objective, logits_of, require_logits, terms_of
from kdtool.api.training.loader import Loader, open_loader
from kdtool.arch.network import two_heads
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

RECORD = "distill.json"  # what the training in a folder is a function of


def train_own(
    student: nn.Module,
    teacher: nn.Module | None,
    batches: Mapping[str, Iterable[Any]],
    objective: Objective,
    optimization: Optimization,
    folder: Path | None,
    screen: Screen,
) -> tuple[Progress, float | None]:
    """Train the student in place; it ends in eval mode, with its best weights, on the device it came from.

    Args:
        batches: of the splits train and validation.
        folder: of checkpoints, record and history; None writes nothing.

    Returns:
        The progress, and the teacher's accuracy on validation.

    Raises:
        UsageError: an argument of `kdtool.distill` is wrong, or `folder` holds another training.
        GateError, Interrupted: as `kdtool.train.loop.fit.fit`.
    """
    _require_networks(student, teacher)
    device, seed = processes().device, objective.seed
    with ExitStack() as after:
        if folder is not None:
            after.enter_context(run_lock(folder))
        after.enter_context(torch.random.fork_rng(devices=[]))
        after.callback(torch.set_num_threads, torch.get_num_threads())
        torch.set_num_threads(usable_threads())
        after.callback(student.to, next(student.parameters()).device)
        student.to(device)
        data, firsts = _opened(student, batches, seed, device)
        accuracy, criterion = None, CrossEntropy(objective.label_smoothing)
        criteria: dict[str, Criterion] = {"train": criterion, "validation": criterion}
        after.callback(_watch(student, taught=teacher is not None))
        if teacher is not None:
            own = _borrowed(teacher, objective.teacher_input).to(device)
            first = firsts["train"]
            _require_classes(logits_of("teacher", own, first.images), data["train"].classes)
            torch.manual_seed(seed)  # of the new layers of a loss
            terms = terms_of(objective, student, OnlineTeacher(own), first)
            after.callback(_close, terms)
            criteria = {"train": Sum(*terms), "validation": terms[0]}
            accuracy = evaluate(own, data["validation"], CrossEntropy(), device).accuracy
        key = ""
        if folder is not None:
            key = _claimed(folder, _inputs(student, teacher, data, firsts, objective, optimization))
        checkpoints = Checkpoints(folder and folder / "checkpoints", key, screen)
        title = "train" if teacher is None else "distill"
        try:
            best, progress = fit(title, student, data, criteria, optimization, seed, checkpoints, screen)
        except Interrupted as stopped:
            raise _said(stopped, title, folder) from stopped
        student.load_state_dict(dict(best))
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
        raise UsageError("student has no parameters to train.", "Set requires_grad of some of them.")


def _opened(
    student: nn.Module, batches: Mapping[str, Iterable[Any]], seed: int, device: torch.device
) -> tuple[dict[str, Loader], dict[str, Batch]]:
    """The batches as the loop wants them, and the first of each split, on which the student was tried."""
    data = {field: open_loader(field, given, seed) for field, given in batches.items()}
    firsts = {field: next(loader.epoch(0, 0, device, ONE_PROCESS)) for field, loader in data.items()}
    logits = [logits_of("student", student, batch.images) for batch in firsts.values()]
    data = {field: replace(loader, classes=logits[0].shape[1]) for field, loader in data.items()}
    for field, batch in firsts.items():
        data[field].require_classes(batch.target, 0)
    return data, firsts


def _watch(student: Any, *, taught: bool) -> Callable[[], None]:
    """Check what the student gives while it trains; returns what undoes that.

    One with a distillation token gives the logits of both heads to learn from a teacher.
    """
    if taught and two_heads(student):
        return partial(student.set_distilled_training, False)
    undo: Callable[[], None] = student.register_forward_hook(_require_logits).remove
    return undo


def _require_logits(student: nn.Module, inputs: Any, output: Any) -> None:  # noqa: ARG001 (a hook's arguments)
    require_logits("student", output, len(inputs[0]))


def _require_classes(logits: Tensor, classes: int) -> None:
    if logits.shape[1] != classes:
        raise UsageError(
            f"student gives {classes} logits for an image, teacher {logits.shape[1]}; allowed: one for each "
            "class from both, in the same order.",
            "Give the last layers as many outputs as there are classes.",
        )


def _borrowed(teacher: nn.Module, teacher_input: Callable[[Tensor], Tensor] | None) -> nn.Module:
    """A copy of the teacher in eval mode, which sees what `teacher_input` makes of the images."""
    own = copy.deepcopy(teacher).eval()
    if teacher_input is not None:
        own.register_forward_pre_hook(lambda _, inputs: (teacher_input(*inputs),))
    return own


def _close(terms: Iterable[nn.Module]) -> None:
    for term in terms:
        if isinstance(term, FeatureDistillation):
            term.close()


def _inputs(
    student: nn.Module,
    teacher: nn.Module | None,
    data: Mapping[str, Loader],
    firsts: Mapping[str, Batch],
    objective: Objective,
    optimization: Optimization,
) -> dict[str, Any]:
    """What the weights are a function of, by the names of the arguments; first batches stand for the data."""
    batches = {
        field: sha256_json([len(data[field]), list(batch.images.shape), batch.target.tolist()])
        for field, batch in firsts.items()
    }
    networks = {"student": _digest(student), "teacher": None if teacher is None else _digest(teacher)}
    inputs = {**networks, **batches, **asdict(optimization), **objective.described()}
    if optimization.schedule == "constant":
        del inputs["epochs"]  # such a training can be extended
    return inputs


def _digest(network: nn.Module) -> str:
    return sha256_bytes(serialized(network.state_dict()))


def _claimed(folder: Path, inputs: Mapping[str, Any]) -> str:
    """The key of the training in `folder`, which is that of `inputs`.

    Raises:
        UsageError: it holds another one.
    """
    record = folder / RECORD
    try:
        before = json.loads(record.read_bytes())
    except FileNotFoundError:
        write_json(record, inputs)
        return sha256_json(inputs)
    different = [name for name in inputs if before.get(name) != inputs[name]]
    if different:
        raise UsageError(
            f"out: {folder} holds another training; different: {', '.join(different)}.",
            "Name another folder or remove this one. The student is compared by its first weights: to go on, "
            "build it again after the same torch.manual_seed.",
        )
    return sha256_json(inputs)


def _said(stopped: Interrupted, title: str, folder: Path | None) -> Interrupted:
    number = stopped.exit_code - 128
    if folder is None:
        return Interrupted(
            number, f"{title}: stopped; out is None, so nothing is saved.", "Name a folder: out=…"
        )
    return Interrupted(
        number, stopped.message, "The same call goes on from here; build the student again first."
    )
