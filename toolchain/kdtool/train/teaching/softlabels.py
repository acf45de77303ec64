"""Soft labels: the teacher's logits, computed once, (N, V, K) of N images, V views, K classes.

Without augmentation there is one view, the image itself. The logits of a view lie in shards
(`kdtool.train.teaching.shards`), so that an interrupted stage goes on; the views are a function of the seed
(`kdtool.train.views.augment`), so the student sees the very pixels that the teacher saw. Whole logits are
stored, not probabilities, so that the temperature stays free.
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
from kdtool.train.loop.criterion import TeacherLogits
from kdtool.train.loop.evaluate import predict
from kdtool.train.loop.signals import StopAsked, StopRequest, graceful_stop
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
COMPUTED_BY = ("torch",)  # whose other versions may round otherwise
DRAWN_BY = ("numpy", "torch", "torchvision")  # whose other versions may draw other views


@dataclass(frozen=True)
class SoftLabels:
    """The teacher's stored logits.

    Attributes:
        views: split → the logits of each view, float32 or float16, in the order of the split's images.
    """

    views: Mapping[str, tuple[ViewLogits, ...]]

    @cached_property
    def logits(self) -> dict[str, npt.NDArray[np.float32]]:
        """Split → (N, V, K), read into memory."""
        return {
            split: np.concatenate([view.whole() for view in views], axis=1)
            for split, views in self.views.items()
        }

    def of(self, split: str) -> TeacherLogits:
        """The stored logits of a batch of `split`, looked up by image and view."""
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
    """Store the teacher's logits on the training and validation images; skipped when they stand.

    Where more views stand than are wanted, the first of them are taken; where fewer do, they are added to.

    Args:
        teacher: it sees the images as its own preprocessing says.
        examples: the student's on the training split; the logits of each of its views are stored.
        stored_as: float16 is half the size and rounds to 11 bits, 5e-4 of a logit.

    Raises:
        GateError: logits are NaN or infinite, or more than float16 holds.
        Interrupted: SIGTERM or Ctrl-C; every shard that was written stays.
    """
    stage, views = _stage(teacher, prepared, examples, folder, stored_as)
    group = processes()
    manifest = group.once(lambda: _standing(stage, views))
    if manifest is not None:
        screen.say("label: complete, skipped.")
        return _opened(folder, manifest, views)
    group.once(stage.reopen)
    files = _compute(teacher, prepared, examples, stage, stored_as, screen)
    manifest = group.once(lambda: _seal(stage, prepared, files))
    images = prepared.counts["train"] * views + prepared.counts["validation"]
    seen = f", {views} views of each in training" if views > 1 else ""
    screen.say(
        f"label: soft labels of {images:,} images{seen}; the teacher is right on "
        f"{manifest.result['validation_accuracy']:.2%} of the validation images."
    )
    return _opened(folder, manifest, views)


def soft_labels_stand(teacher: Teacher, prepared: Prepared, examples: Examples, folder: Path) -> bool:
    """Whether `store_soft_labels` has nothing left to do."""
    stage, views = _stage(teacher, prepared, examples, folder, "float32")
    return _standing(stage, views) is not None


def _stage(
    teacher: Teacher, prepared: Prepared, examples: Examples, folder: Path, stored_as: StoredAs
) -> tuple[Stage, int]:
    """The stage, and how many views it stores."""
    views = examples.views if examples.augment else 1
    return Stage("label", folder, {**_key(teacher, prepared, examples, stored_as), "views": views}), views


def _seal(stage: Stage, prepared: Prepared, kept: Sequence[str]) -> Manifest:
    """All logits are there: drop other files, and say how often the teacher is right."""
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


def _key(teacher: Teacher, prepared: Prepared, examples: Examples, stored_as: StoredAs) -> dict[str, Any]:
    """What the logits of one view are a function of."""
    augment = examples.augment
    versions = versions_of(DRAWN_BY if augment else COMPUTED_BY)
    key: dict[str, Any] = {"teacher": teacher.digest, "data": prepared.digest, "versions": versions}
    if stored_as != "float32":
        key["kind"] = stored_as
    if augment:
        key["augment"] = {name: getattr(augment, name) for name in augment.DRAWN}
        key["seed"] = augment.seed
    return key


def _standing(stage: Stage, views: int) -> Manifest | None:
    """The manifest of a complete set of the same logits with this many views, or more."""
    manifest = read_manifest(stage.manifest_path)
    stood = manifest.inputs.get("views", 0) if manifest else 0
    return replace(stage, inputs={**stage.inputs, "views": max(views, stood)}).complete()


def _compute(
    teacher: Teacher,
    prepared: Prepared,
    examples: Examples,
    stage: Stage,
    stored_as: StoredAs,
    screen: Screen,
) -> list[str]:
    """The shards of every view; one that is there from before is taken as it is."""
    group = processes()
    device = group.device
    network = teacher.network.to(device).to(memory_format=torch.channels_last)
    own = replace(examples, preprocess=teacher.info.preprocess)
    views = int(stage.inputs["views"])
    key = sha256_json({name: value for name, value in stage.inputs.items() if name != "views"})[:HASHED]
    splits = {"validation": plain_examples(prepared, "validation", own.preprocess), "train": own}
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
                seen = splits[place.split]
                files.append(found or _compute_shard(network, seen, place, stage.folder, stored_as, stop))
                bar.advance(note=f"view {place.view + 1} of {views}")
            stop.leave_if_asked(group)
        except StopAsked as asked:
            message = f"label: stopped after {len(files)} of {len(wanted)} parts; they are saved."
            again = "The same command goes on from here."
            raise group.alike(Interrupted(asked.number, message, again)) from asked
    return files


def _compute_shard(
    network: nn.Module,
    examples: Examples,
    place: Place,
    folder: Path,
    stored_as: StoredAs,
    stop: StopRequest,
) -> str:
    group = processes()
    exact = predict(network, examples, group.device, place.view, place.images, stop)
    if not np.isfinite(exact).all():
        message = "label: the teacher's logits are NaN or infinite; it cannot teach."
        hint = "Teach again with a lower learning rate, such as --set teacher.lr=0.0001, in a new --out."
        raise group.alike(GateError(message, hint))
    with np.errstate(over="ignore"):
        logits = exact.astype(stored_as)
    if not np.isfinite(logits).all():
        largest = np.abs(exact).max()
        message = f"label: a logit of the teacher is {largest:g}, which {stored_as} does not hold."
        raise group.alike(GateError(message, "Store them whole: --set student.answers=float32"))
    return group.once(partial(write_shard, folder, place, logits))


def _opened(folder: Path, manifest: Manifest, views: int) -> SoftLabels:
    """The first `views` views."""
    by_split = by_view(manifest.files)
    train, validation = by_split["train"][:views], by_split["validation"]
    views_of = {
        split: tuple(open_view(folder, files) for files in chosen)
        for split, chosen in (("train", train), ("validation", validation))
    }
    return SoftLabels(views_of)


def _accuracy(view: ViewLogits, prepared: Prepared, split: str) -> float:
    """The teacher's accuracy on one view of a split."""
    predicted = view.whole()[:, 0].argmax(axis=1)
    return float((predicted == prepared.split(split).labels).mean())
