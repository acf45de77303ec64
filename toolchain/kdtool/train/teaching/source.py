"""Source of the teacher's logits: stored as soft labels, or computed online in each step.

The logits are equal. To store them costs V · N · (f + v) seconds, to compute them online E · N · f seconds,
with V views of N images, E epochs, f seconds for the teacher's forward pass of an image, and v seconds to
make a view. Without augmentation V is 1.
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
from kdtool.train.teaching.softlabels import SPLITS, soft_labels_complete, store_soft_labels
from kdtool.train.teaching.teacher import Teacher
from kdtool.train.together.processes import processes
from kdtool.train.views.batch import Batch, Examples, plain_examples


@dataclass(frozen=True)
class Costs:
    """Seconds per image: `forward` for the forward pass of the teacher, `view` to make one view."""

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
    """Return the teacher's logits for the splits train and validation, in the way that costs less time.

    Args:
        examples: training split of the student.
        folder: folder for the soft labels, if they are stored.
        shared: true if other students need the soft labels too.

    Raises:
        GateError, Interrupted: see `kdtool.train.teaching.softlabels.store_soft_labels`.
    """

    def stored() -> bool:
        return soft_labels_complete(teacher, prepared, examples, folder)

    def costs() -> Costs:
        size, classes = teacher.info.preprocess.size, len(prepared.classes)
        forward = seconds_per_image(teacher.info.arch, classes, size, training=False)
        return Costs(forward, seconds_per_view(examples))

    reason = processes().once(lambda: why_online(settings, shared, stored, costs))
    if reason is None:
        soft = store_soft_labels(teacher, prepared, examples, folder, screen, settings.answers)
        return {split: soft.of(split) for split in SPLITS}
    screen.say(f"student: the teacher computes its logits in each step, {reason}.")
    online = {
        split: online_teacher(teacher, prepared, part)
        for split, part in (
            ("train", examples),
            ("validation", plain_examples(prepared, "validation")),
        )
    }
    return {"train": online["train"], "validation": CachedLogits(online["validation"])}


def online_teacher(teacher: Teacher, prepared: Prepared, examples: Examples) -> OnlineTeacher:
    """Return a teacher that runs in each step on `examples`, at its own size."""
    preprocess = teacher.info.preprocess
    if prepared.teacher is None:
        return OnlineTeacher(teacher.network, preprocess)
    split = prepared.for_teacher.split(examples.split.name)
    return OnlineTeacher(teacher.network, preprocess, examples.resized(split, preprocess))


def why_online(
    settings: StudentSettings, shared: bool, stored: Callable[[], bool], costs: Callable[[], Costs]
) -> str | None:
    """Return the reason to compute the teacher's logits in each step; None if they are stored.

    Args:
        shared: true if other students need the soft labels too.
        stored: function that returns true if the soft labels are already stored; called only if needed.
        costs: function that measures the costs; called only if needed.
    """
    views, epochs = settings.seen_views, settings.epochs
    if settings.features.name:
        return "since a feature loss needs its feature maps"
    if shared or not settings.augment.active or settings.answers != "float32" or stored():
        return None
    if views >= epochs:
        return "since each view is seen once"
    cost = costs()
    if epochs * cost.forward >= views * (cost.forward + cost.view):
        return None
    return (
        f"since {epochs} epochs of it cost less than {views} stored views ({1000 * cost.forward:.1f} ms per "
        f"image for the teacher, {1000 * cost.view:.1f} ms to make a view)"
    )


def validation_passes(settings: StudentSettings) -> int:
    """Return how often an online teacher sees the validation images: `CachedLogits` need it once.

    With a feature loss the teacher runs in each epoch (`kdtool.train.student`).
    """
    return settings.epochs if settings.features.name else 1


class CachedLogits:
    """Logits of a teacher for images without augmentation; they are computed once for each image."""

    def __init__(self, compute: TeacherLogits) -> None:
        self._compute = compute
        self._by_image: dict[int, Tensor] = {}

    def __call__(self, batch: Batch) -> Tensor:
        """Return the logits (B, K)."""
        indices = batch.indices.tolist()
        if not self._by_image.keys() >= set(indices):
            self._by_image.update(zip(indices, self._compute(batch), strict=True))
        return torch.stack([self._by_image[index] for index in indices])
