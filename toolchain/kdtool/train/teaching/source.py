"""Where a student has its teacher's logits from: stored as soft labels, or asked for in each step.

The logits are the same. Storing costs V · N · (a + v) seconds, asking E · N · a, with V views of N images,
E epochs, a the teacher's forward pass of an image and v the making of a view that nobody learns from
meanwhile. Without augmentation V is 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from kdtool.core.screen import Screen
from kdtool.data.reader import Prepared
from kdtool.recipe.settings import StudentSettings
from kdtool.train.estimate import seconds_per_image, seconds_per_view
from kdtool.train.loop.criterion import TeacherLogits
from kdtool.train.teaching.features import OnlineTeacher
from kdtool.train.teaching.softlabels import SPLITS, soft_labels_stand, store_soft_labels
from kdtool.train.teaching.teacher import Teacher
from kdtool.train.together.processes import processes
from kdtool.train.views.batch import Batch, Examples


@dataclass(frozen=True)
class Costs:
    """Seconds an image: `forward` of the teacher, `view` to make one view."""

    forward: float
    view: float


def teacher_logits_of(
    teacher: Teacher,
    prepared: Prepared,
    examples: Examples,
    settings: StudentSettings,
    folder: Path,
    screen: Screen,
    shared: bool = False,
) -> Mapping[str, TeacherLogits]:
    """The teacher's logits on the splits train and validation, in whichever way costs less here.

    Args:
        examples: the student's on the training split.
        folder: of the soft labels, where they are stored.
        shared: whether other students want them as well.

    Raises:
        GateError, Interrupted: as `kdtool.train.teaching.softlabels.store_soft_labels`.
    """

    def stored() -> bool:
        return soft_labels_stand(teacher, prepared, examples, folder)

    def costs() -> Costs:
        size, classes = prepared.preprocess.size, len(prepared.classes)
        forward = seconds_per_image(teacher.info.arch, classes, size, training=False)
        return Costs(forward, seconds_per_view(examples))

    reason = processes().once(lambda: why_asking(settings, shared, stored, costs))
    if reason is None:
        soft = store_soft_labels(teacher, prepared, examples, folder, screen, settings.answers)
        return {split: soft.of(split) for split in SPLITS}
    screen.say(f"student: the teacher computes its logits in each step, {reason}.")
    online = OnlineTeacher(teacher.network, teacher.info.preprocess)
    return {"train": online, "validation": Remembered(online)}


def why_asking(
    settings: StudentSettings, shared: bool, stored: Callable[[], bool], costs: Callable[[], Costs]
) -> str | None:
    """Why the teacher is asked in each step, in words; None where its logits are stored.

    Args:
        shared: whether other students want the soft labels as well.
        stored: whether they are stored already. costs: as measured. Each is called only if it matters.
    """
    views, epochs = settings.seen_views, settings.epochs
    if shared or not settings.augment.active or settings.answers != "float32" or stored():
        return None
    if views >= epochs:
        return "since each view is seen once"
    cost = costs()
    if epochs * cost.forward >= views * (cost.forward + cost.view):
        return None
    return (
        f"{1000 * cost.forward:.1f} ms an image: storing {views} views, {1000 * cost.view:.1f} ms each to "
        f"make, would cost more than asking for {epochs} epochs"
    )


class Remembered:
    """A teacher's logits on pictures that never change: each is asked for once."""

    def __init__(self, ask: TeacherLogits) -> None:
        self._ask = ask
        self._known: dict[int, Tensor] = {}

    def __call__(self, batch: Batch) -> Tensor:
        """Logits (B, K)."""
        indices = batch.indices.tolist()
        if not self._known.keys() >= set(indices):
            self._known.update(zip(indices, self._ask(batch), strict=True))
        return torch.stack([self._known[index] for index in indices])
