"""Where a student has its teacher's answers from: stored, or asked in each step. They are the same answers.

Storing costs V · N · (a + v) seconds, asking E · N · a, with V views of N images, E epochs, a an answer and
v the making of a view that nobody learns from meanwhile. Without augmentation V is 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from kdtool.core.screen import Screen
from kdtool.data.reader import Prepared
from kdtool.recipe.settings import StudentSettings
from kdtool.train.estimate import seconds_per_image, seconds_per_view
from kdtool.train.loop.objective import Answers
from kdtool.train.teaching.features import OnlineTeacher
from kdtool.train.teaching.softlabels import SPLITS, answered, label
from kdtool.train.teaching.teacher import Teacher
from kdtool.train.together.processes import processes
from kdtool.train.views.batch import Batch, Task


def answers_of(
    teacher: Teacher,
    prepared: Prepared,
    task: Task,
    settings: StudentSettings,
    folder: Path,
    screen: Screen,
    shared: bool = False,
) -> Mapping[str, Answers]:
    """The teacher's answers on the splits train and validation, in whichever way costs less here.

    Args:
        task: the student's on the training split.
        folder: of the answers, where they are stored.
        shared: whether other students want them as well.

    Raises:
        GateError, Interrupted: as `kdtool.train.teaching.softlabels.label`.
    """
    store = shared or not task.augment.active or settings.answers != "float32"
    reason = processes().once(
        lambda: (
            None
            if store or answered(teacher, prepared, task, folder)
            else why_asking(teacher, prepared, task, settings)
        )
    )
    if reason is None:
        soft = label(teacher, prepared, task, folder, screen, settings.answers)
        return {split: soft.answers(split) for split in SPLITS}
    screen.say(f"student: the teacher answers in each step, {reason}.")
    online = OnlineTeacher(teacher.network, teacher.info.preprocess)
    return {"train": online, "validation": Remembered(online)}


def why_asking(teacher: Teacher, prepared: Prepared, task: Task, settings: StudentSettings) -> str | None:
    """Why asking costs less than storing, in words; None where it does not."""
    if task.views >= settings.epochs:
        return "since each view is seen once"
    classes, size = len(prepared.classes), prepared.preprocess.size
    answer = seconds_per_image(teacher.info.arch, classes, size, training=False)
    view = seconds_per_view(task)
    if not asking_is_cheaper(task.views, settings.epochs, answer, view):
        return None
    return (
        f"{1000 * answer:.1f} ms an image: storing {task.views} views, {1000 * view:.1f} ms each to make, "
        f"would cost more than asking for {settings.epochs} epochs"
    )


def asking_is_cheaper(views: int, epochs: int, answer: float, view: float) -> bool:
    """E · a < V · (a + v), seconds an image."""
    return epochs * answer < views * (answer + view)


class Remembered:
    """Answers to pictures that never change: each is asked for once."""

    def __init__(self, ask: Answers) -> None:
        self._ask = ask
        self._known: dict[int, Tensor] = {}

    def __call__(self, batch: Batch) -> Tensor:
        """Logits (B, K)."""
        indices = batch.indices.tolist()
        if not self._known.keys() >= set(indices):
            self._known.update(zip(indices, self._ask(batch), strict=True))
        return torch.stack([self._known[index] for index in indices])
