"""Soft labels: the teacher's logits (N, V, K) for N images, V views and K classes, computed once and stored.

Without augmentation there is one view, the image itself. The logits of a view are stored in shards
(`kdtool.train.teaching.shards`), so that an interrupted stage can continue. The views are a function of the
seed (`kdtool.train.views.augment`), so that the student sees the same pixels as the teacher. Logits are
stored, not probabilities, so that the temperature can change later.
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
from kdtool.core.spelling import argument, assigned
from kdtool.data.reader import Prepared
from kdtool.machine.packages import versions_of
from kdtool.runs.stage import Manifest, Stage, read_manifest
from kdtool.train.loop.criterion import TeacherLogits
from kdtool.train.loop.evaluate import predict
from kdtool.train.loop.signals import StopAsked, StopRequest, graceful_stop
from kdtool.train.stored import stored_answers
from kdtool.train.teaching.shards import (
    HASHED,
    Place,
    ViewLogits,
    by_view,
    open_view,
    places,
    shards_in,
    whole_shard,
    write_shard,
)
from kdtool.train.teaching.teacher import Teacher
from kdtool.train.together.processes import processes
from kdtool.train.views.batch import Batch, Examples, plain_examples

StoredAs = Literal["float32", "float16"]
SPLITS = ("train", "validation")  # never test
COMPUTED_BY = ("torch",)  # another version may round differently
DRAWN_BY = ("numpy", "torch", "torchvision")  # another version may draw other views


@dataclass(frozen=True)
class SoftLabels:
    """Stored logits of the teacher.

    Attributes:
        views: split → logits of each view, float32 or float16, in the order of the images in the split.
    """

    views: Mapping[str, tuple[ViewLogits, ...]]

    @cached_property
    def logits(self) -> dict[str, npt.NDArray[np.float32]]:
        """Split → logits (N, V, K), read into memory."""
        return {
            split: np.concatenate([view.whole() for view in views], axis=1)
            for split, views in self.views.items()
        }

    def of(self, split: str) -> TeacherLogits:
        """Return a function that looks up the logits of a batch of `split` by image and view."""
        views = self.views[split]

        def stored(batch: Batch) -> Tensor:
            return torch.from_numpy(views[batch.view].rows(batch.indices)).to(batch.images.device)

        return stored


def store_soft_labels(
    teacher: Teacher,
    prepared: Prepared,
    examples: Examples,
    folder: Path,
    screen: Screen,
    stored_as: StoredAs = "float32",
) -> SoftLabels:
    """Store the teacher's logits for the training and validation images; skipped if they are complete.

    If more views are stored than needed, the first ones are used; if there are fewer, the others are added.

    Args:
        teacher: its preprocessing normalizes the images.
        examples: training split of the student; the logits of each of its views are stored.
        stored_as: type of the stored logits; float16 is half the size and rounds to 11 bits, 5e-4 of a logit.

    Raises:
        GateError: logits are NaN, infinite, or too large for float16.
        Interrupted: SIGTERM or Ctrl-C; all finished shards stay.
    """
    stage, views = _stage(teacher, prepared, examples, folder, stored_as)
    group = processes()
    manifest = group.once(lambda: _complete_manifest(stage, views))
    if manifest is not None:
        screen.say("label: complete, skipped.")
        return _open(folder, manifest, views)
    group.once(stage.reopen)
    files = _compute(teacher, prepared, examples, stage, stored_as, screen)
    manifest = group.once(lambda: _seal(stage, prepared, files))
    images = prepared.counts["train"] * views + prepared.counts["validation"]
    in_views = f" ({views} views of each training image)" if views > 1 else ""
    screen.say(
        f"label: soft labels of {images:,} images{in_views}; the teacher is right on "
        f"{manifest.result['validation_accuracy']:.2%} of the validation images."
    )
    return _open(folder, manifest, views)


def soft_labels_complete(teacher: Teacher, prepared: Prepared, examples: Examples, folder: Path) -> bool:
    """True if `store_soft_labels` has nothing left to do."""
    stage, views = _stage(teacher, prepared, examples, folder, "float32")
    return _complete_manifest(stage, views) is not None


def _stage(
    teacher: Teacher, prepared: Prepared, examples: Examples, folder: Path, stored_as: StoredAs
) -> tuple[Stage, int]:
    """Build the stage; also returns the number of views that it stores."""
    views = examples.views if examples.augment else 1
    return Stage("label", folder, {**_key(teacher, prepared, examples, stored_as), "views": views}), views


def _seal(stage: Stage, prepared: Prepared, files: Sequence[str]) -> Manifest:
    """Delete other shards and write the manifest with the accuracy of the teacher."""
    current = set(files)
    for stale in stage.folder.glob("*.npy"):
        if stale.name not in current:
            stale.unlink()
    views = by_view(files)
    result = {
        f"{split}_accuracy": _accuracy(open_view(stage.folder, views[split][0]), prepared, split)
        for split in SPLITS
    }
    return stage.seal(files, result, versions_of())


def _key(teacher: Teacher, prepared: Prepared, examples: Examples, stored_as: StoredAs) -> dict[str, Any]:
    """Inputs that determine the logits of one view."""
    augment = examples.augment
    versions = versions_of(DRAWN_BY if augment else COMPUTED_BY)
    data = prepared.for_teacher.digest
    key: dict[str, Any] = {"teacher": teacher.digest, "data": data, "versions": versions}
    if stored_as != "float32":
        key["kind"] = stored_as
    if augment:
        key["augment"] = {name: getattr(augment, name) for name in augment.DRAWN}
        key["seed"] = augment.seed
        if augment.balanced and augment.mixes:
            key["balanced"] = True  # other partners
        if augment.whole is not None:
            key["photographs"] = augment.whole.digest
    return key


def _complete_manifest(stage: Stage, views: int) -> Manifest | None:
    """Return the manifest if the same logits are stored for at least this number of views."""
    manifest = read_manifest(stage.manifest_path)
    stored = manifest.inputs.get("views", 0) if manifest else 0
    return replace(stage, inputs={**stage.inputs, "views": max(views, stored)}).complete()


def _compute(
    teacher: Teacher,
    prepared: Prepared,
    examples: Examples,
    stage: Stage,
    stored_as: StoredAs,
    screen: Screen,
) -> list[str]:
    """Compute the shards of all views; an intact shard of an earlier start is used again."""
    group = processes()
    device = group.device
    network = teacher.network.to(device).to(memory_format=torch.channels_last)
    at_size, preprocess = prepared.for_teacher, teacher.info.preprocess
    training = examples.resized(at_size.split("train"), preprocess)
    views = int(stage.inputs["views"])
    key = sha256_json({name: value for name, value in stage.inputs.items() if name != "views"})[:HASHED]
    splits = {"validation": plain_examples(at_size, "validation", preprocess), "train": training}
    needed = places("validation", 0, prepared.counts["validation"], key)
    for view in range(views):
        needed += places("train", view, prepared.counts["train"], key)
    stored = stored_answers(teacher.file.parent, network, teacher.info, at_size)
    known = {split: logits for split, logits in stored.items() if splits[split].augment is None}
    files: list[str] = []
    existing = group.once(partial(shards_in, stage.folder))
    with graceful_stop() as stop, screen.bar("label", len(needed)) as bar:
        try:
            for place in needed:
                stop.raise_if_asked(group)
                file = group.once(partial(whole_shard, existing.get(place.name)))
                if file is None:
                    split, first = splits[place.split], known.get(place.split)
                    file = _compute_shard(network, split, place, first, stage.folder, stored_as, stop)
                files.append(file)
                bar.advance(note=f"view {place.view + 1} of {views}")
            stop.raise_if_asked(group)
        except StopAsked as asked:
            message = f"label: stopped after {len(files)} of {len(needed)} parts; they are saved."
            hint = "Run the same command again to continue from here."
            raise group.alike(Interrupted(asked.number, message, hint)) from asked
    return files


def _compute_shard(
    network: nn.Module,
    examples: Examples,
    place: Place,
    known: npt.NDArray[np.float32] | None,
    folder: Path,
    stored_as: StoredAs,
    stop: StopRequest,
) -> str:
    group = processes()
    nothing = np.zeros((0, examples.classes), np.float32)
    exact = (nothing if known is None else known)[place.images.start : place.images.stop]
    rest = place.images[len(exact) :]
    if rest:
        computed = predict(network, examples, group.device, place.view, rest, stop)
        exact = np.concatenate([exact, computed])
    if not np.isfinite(exact).all():
        message = "label: the teacher's logits are NaN or infinite, so it cannot teach a student."
        lower = assigned({"teacher.lr": 0.0001})
        hint = f"Train the teacher again with a lower learning rate in a new {argument('out')}: {lower}"
        raise group.alike(GateError(message, hint))
    with np.errstate(over="ignore"):
        logits = exact.astype(stored_as)
    if not np.isfinite(logits).all():
        largest = np.abs(exact).max()
        message = f"label: a logit of the teacher is {largest:g}, which is too large for {stored_as}."
        raise group.alike(
            GateError(message, f"Store soft labels as float32: {assigned({'student.answers': 'float32'})}")
        )
    return group.once(partial(write_shard, folder, place, logits))


def _open(folder: Path, manifest: Manifest, views: int) -> SoftLabels:
    """Open the stored logits of the first `views` views."""
    by_split = by_view(manifest.files)
    train, validation = by_split["train"][:views], by_split["validation"]
    views_of = {
        split: tuple(open_view(folder, files) for files in files_of_views)
        for split, files_of_views in (("train", train), ("validation", validation))
    }
    return SoftLabels(views_of)


def _accuracy(view: ViewLogits, prepared: Prepared, split: str) -> float:
    """Accuracy of the teacher on the labelled images of one view of a split."""
    predicted, labels = view.whole()[:, 0].argmax(axis=1), prepared.split(split).labels
    return float((predicted == labels)[labels >= 0].mean())
