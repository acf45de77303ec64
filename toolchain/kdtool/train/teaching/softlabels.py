"""The teacher's answers, computed once: logits (N, V, K) of N images, V views, K classes.

Without augmentation there is one view, the image itself. The answers to a view lie in shards
(`kdtool.train.teaching.shards`), so that an interrupted labelling goes on; the views are a function of
the seed (`kdtool.train.views.augment`), so the student sees the very pixels that were answered. Whole
logits are stored, not probabilities, so that the temperature stays free.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from kdtool.core.errors import GateError, Interrupted
from kdtool.core.files import sha256_json
from kdtool.core.screen import Screen
from kdtool.data.reader import Prepared
from kdtool.machine.packages import versions_of
from kdtool.runs.stage import Manifest, Stage, read_manifest
from kdtool.train.loop.evaluate import predict
from kdtool.train.loop.objective import Answers
from kdtool.train.loop.signals import StopAsked, StopRequest, graceful_stop
from kdtool.train.teaching.shards import (
    HASHED,
    Place,
    View,
    by_view,
    open_view,
    places,
    shards_in,
    whole_shard,
    write_shard,
)
from kdtool.train.teaching.teacher import Teacher
from kdtool.train.together.processes import processes
from kdtool.train.views.batch import Batch, Task, plain_task

Kind = Literal["float32", "float16"]
SPLITS = ("train", "validation")  # never test
COMPUTED_BY = ("torch",)  # whose other versions may round otherwise
DRAWN_BY = ("numpy", "torch", "torchvision")  # whose other versions may draw other views


@dataclass(frozen=True)
class SoftLabels:
    """The teacher's answers.

    Attributes:
        views: split → the answers to each view, float32 or float16, in the order of the split's images.
    """

    views: Mapping[str, tuple[View, ...]]

    @cached_property
    def logits(self) -> dict[str, npt.NDArray[np.float32]]:
        """Split → (N, V, K), read into memory."""
        return {
            split: np.concatenate([view.whole() for view in views], axis=1)
            for split, views in self.views.items()
        }

    def answers(self, split: str) -> Answers:
        """The stored logits of a batch of `split`, looked up by image and view."""
        views = self.views[split]

        def stored(batch: Batch) -> Tensor:
            return torch.from_numpy(views[batch.view].rows(batch.indices)).to(batch.images.device)

        return stored


def label(
    teacher: Teacher, prepared: Prepared, task: Task, folder: Path, screen: Screen, kind: Kind = "float32"
) -> SoftLabels:
    """Store the teacher's logits on the training and validation images; skipped when they stand.

    Where more views stand than are wanted, the first of them are taken; where fewer do, they are added to.

    Args:
        teacher: it sees the images as its own preprocessing says.
        task: the student's on the training split; each of its views is answered.
        kind: what is stored; float16 is half the size and rounds to 11 bits, 5e-4 of a logit.

    Raises:
        GateError: the teacher answers NaN or infinity, or more than float16 holds.
        Interrupted: SIGTERM or Ctrl-C; every shard that was answered stays.
    """
    stage, views = _stage(teacher, prepared, task, folder, kind)
    group = processes()
    manifest = group.once(lambda: _standing(stage, views))
    if manifest is not None:
        screen.say("label: complete, skipped.")
        return _opened(folder, manifest, views)
    group.once(stage.reopen)
    files = _answer(teacher, prepared, task, stage, kind, screen)
    manifest = group.once(lambda: _seal(stage, prepared, files))
    answered = prepared.counts["train"] * views + prepared.counts["validation"]
    seen = f", {views} views of each in training" if views > 1 else ""
    screen.say(
        f"label: the teacher's answers to {answered:,} images{seen}; on validation "
        f"{manifest.result['validation_accuracy']:.2%} right."
    )
    return _opened(folder, manifest, views)


def answered(teacher: Teacher, prepared: Prepared, task: Task, folder: Path) -> bool:
    """Whether `label` has nothing left to do."""
    stage, views = _stage(teacher, prepared, task, folder, "float32")
    return _standing(stage, views) is not None


def _stage(teacher: Teacher, prepared: Prepared, task: Task, folder: Path, kind: Kind) -> tuple[Stage, int]:
    """The stage, and how many views it answers."""
    views = task.views if task.augment.active else 1
    return Stage("label", folder, {**_key(teacher, prepared, task, kind), "views": views}), views


def _seal(stage: Stage, prepared: Prepared, kept: Sequence[str]) -> Manifest:
    """The answers are complete: drop what is none of them, and say how often they are right."""
    current = set(kept)
    for stale in stage.folder.glob("*.npy"):
        if stale.name not in current:
            stale.unlink()
    views = by_view(kept)
    result = {
        f"{split}_accuracy": _accuracy(open_view(stage.folder, views[split][0]), prepared, split)
        for split in SPLITS
    }
    return stage.seal(kept, result, versions_of())


def _key(teacher: Teacher, prepared: Prepared, task: Task, kind: Kind) -> dict[str, Any]:
    """What the answers to one view are a function of."""
    versions = versions_of(DRAWN_BY if task.augment.active else COMPUTED_BY)
    key: dict[str, Any] = {"teacher": teacher.digest, "data": prepared.digest, "versions": versions}
    if kind != "float32":
        key["kind"] = kind
    if task.augment.active:
        key["augment"] = task.augment.model_dump(mode="json")
        key["seed"] = task.seed
    return key


def _standing(stage: Stage, views: int) -> Manifest | None:
    """The manifest of a complete set of the same answers with this many views, or more."""
    manifest = read_manifest(stage.manifest_path)
    stood = manifest.inputs.get("views", 0) if manifest else 0
    return replace(stage, inputs={**stage.inputs, "views": max(views, stood)}).complete()


def _answer(
    teacher: Teacher, prepared: Prepared, task: Task, stage: Stage, kind: Kind, screen: Screen
) -> list[str]:
    """The shards of every view; one that is there from before is taken as it is."""
    group = processes()
    device = group.device
    network = teacher.network.to(device).to(memory_format=torch.channels_last)
    own = replace(task, preprocess=teacher.info.preprocess)
    views = int(stage.inputs["views"])
    key = sha256_json({name: value for name, value in stage.inputs.items() if name != "views"})[:HASHED]
    tasks = {"validation": plain_task(prepared, "validation", own.preprocess), "train": own}
    wanted = places("validation", 0, prepared.counts["validation"], key)
    for view in range(views):
        wanted += places("train", view, prepared.counts["train"], key)
    files: list[str] = []
    left = group.once(partial(shards_in, stage.folder))
    with graceful_stop() as stop, screen.bar("label", len(wanted)) as bar:
        try:
            for place in wanted:
                stop.leave_if_asked(group)
                found = group.once(partial(whole_shard, left.get(place.name)))
                task = tasks[place.split]
                files.append(found or _answer_shard(network, task, place, stage.folder, kind, stop))
                bar.advance(note=f"view {place.view + 1} of {views}")
            stop.leave_if_asked(group)
        except StopAsked as asked:
            message = f"label: stopped after {len(files)} of {len(wanted)} parts; they are saved."
            again = "The same command goes on from here."
            raise group.alike(Interrupted(asked.number, message, again)) from asked
    return files


def _answer_shard(
    network: nn.Module, task: Task, place: Place, folder: Path, kind: Kind, stop: StopRequest
) -> str:
    group = processes()
    answers = predict(network, task, group.device, place.view, place.images, stop)
    if not np.isfinite(answers).all():
        message = "label: the teacher answers NaN or infinity; it is no teacher."
        hint = "Teach again with a lower learning rate, such as --set teacher.lr=0.0001, in a new --out."
        raise group.alike(GateError(message, hint))
    with np.errstate(over="ignore"):
        logits = answers.astype(kind)
    if not np.isfinite(logits).all():
        message = f"label: the teacher answers {np.abs(answers).max():g}, which {kind} does not hold."
        raise group.alike(GateError(message, "Store its answers whole: --set student.answers=float32"))
    return group.once(partial(write_shard, folder, place, logits))


def _opened(folder: Path, manifest: Manifest, views: int) -> SoftLabels:
    """The first `views` views."""
    by_split = by_view(manifest.files)
    train, validation = by_split["train"][:views], by_split["validation"]
    answers = {
        split: tuple(open_view(folder, files) for files in chosen)
        for split, chosen in (("train", train), ("validation", validation))
    }
    return SoftLabels(answers)


def _accuracy(view: View, prepared: Prepared, split: str) -> float:
    """The share of pictures whose own label the answers have, in one view."""
    answers = view.whole()[:, 0].argmax(axis=1)
    return float((answers == prepared.split(split).labels).mean())
