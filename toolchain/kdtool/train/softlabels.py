"""The teacher's answers, computed once: logits (N, V, K) of N images, V views, K classes.

Without augmentation there is one view, the image itself. With it, each view is a file of its own,
named by its content, so that an interrupted labelling goes on; the views are a function of the seed
(`kdtool.train.augment`), so the student sees the very pixels that were answered. Whole logits are
stored, not probabilities, so that the temperature stays free.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from kdtool.core.errors import GateError
from kdtool.core.files import sha256_bytes, sha256_file, sha256_json, write_bytes
from kdtool.core.lineage import soft_labels_digest
from kdtool.core.manifest import Manifest, Stage, read_manifest
from kdtool.core.screen import Screen
from kdtool.core.versions import versions_of
from kdtool.data.reader import Prepared
from kdtool.train.batch import Batch, Task, plain_task
from kdtool.train.evaluate import evaluate
from kdtool.train.objective import Answers, CrossEntropy
from kdtool.train.processes import Processes, processes
from kdtool.train.teacher import Teacher

SPLITS = ("train", "validation")  # never test
HASHED = 16  # hexadecimal digits of a hash in a file's name
DRAWN_BY = ("numpy", "torch", "torchvision")  # whose other versions may draw other views


@dataclass(frozen=True)
class SoftLabels:
    """The teacher's answers.

    Attributes:
        logits: split → (N, V, K) float32, in the order of the split's images and views.
        digest: of all of them; origin: of validation and the first view, whose content changes with
            all that the answers are a function of, but not with the number of views.
    """

    logits: Mapping[str, npt.NDArray[np.float32]]
    digest: str
    origin: str

    def answers(self, split: str) -> Answers:
        """The stored logits of a batch of `split`, looked up by image and view."""
        logits = torch.from_numpy(self.logits[split])

        def stored(batch: Batch) -> Tensor:
            return logits[batch.indices, batch.view].to(batch.images.device)

        return stored


def label(teacher: Teacher, prepared: Prepared, task: Task, folder: Path, screen: Screen) -> SoftLabels:
    """Store the teacher's logits on the training and validation images; skipped when they stand.

    Where more views stand than are wanted, the first of them are taken; where fewer do, they are added to.

    Args:
        teacher: it sees the images as its own preprocessing says.
        task: the student's on the training split; each of its views is answered.

    Raises:
        GateError: the teacher answers NaN or infinity.
    """
    views = task.views if task.augment.active else 1
    stage = Stage("label", folder, {**_key(teacher, prepared, task), "views": views})
    group = processes()
    manifest = group.once(lambda: _standing(stage, views))
    if manifest is not None:
        screen.say("label: complete, skipped.")
        return _opened(folder, manifest, views)
    group.once(stage.reopen)
    files = _answer(teacher, prepared, task, stage, screen)
    manifest = group.once(lambda: _seal(stage, prepared, files))
    answered = prepared.counts["train"] * views + prepared.counts["validation"]
    seen = f", {views} views of each in training" if views > 1 else ""
    screen.say(
        f"label: the teacher's answers to {answered:,} images{seen}; on validation "
        f"{manifest.result['validation_accuracy']:.2%} right."
    )
    return _opened(folder, manifest, views)


def _seal(stage: Stage, prepared: Prepared, files: Mapping[str, Sequence[str]]) -> Manifest:
    """The answers are complete: drop what is none of them, and say how often they are right."""
    kept = {name for names in files.values() for name in names}
    for stale in stage.folder.glob("*.npy"):
        if stale.name not in kept:
            stale.unlink()
    result = {
        f"{split}_accuracy": _accuracy(stage.folder / files[split][0], prepared, split) for split in SPLITS
    }
    return stage.seal(kept, result, versions_of())


def _key(teacher: Teacher, prepared: Prepared, task: Task) -> dict[str, Any]:
    """What the answers to one view are a function of."""
    key: dict[str, Any] = {"teacher": teacher.digest, "data": prepared.digest}
    if task.augment.active:
        key["augment"] = task.augment.model_dump(mode="json")
        key |= {"seed": task.seed, "versions": versions_of(DRAWN_BY)}
    return key


def _standing(stage: Stage, views: int) -> Manifest | None:
    """The manifest of a complete set of the same answers with this many views, or more."""
    manifest = read_manifest(stage.manifest_path)
    stood = manifest.inputs.get("views", 0) if manifest else 0
    return replace(stage, inputs={**stage.inputs, "views": max(views, stood)}).complete()


def _answer(
    teacher: Teacher, prepared: Prepared, task: Task, stage: Stage, screen: Screen
) -> dict[str, list[str]]:
    """The files of each split, a view each; one that is there from before is taken as it is."""
    group = processes()
    device = group.device
    network = teacher.network.to(device).to(memory_format=torch.channels_last)
    own = replace(task, preprocess=teacher.info.preprocess)
    views = int(stage.inputs["views"])
    wanted = [("validation", plain_task(prepared, "validation", own.preprocess), 0)]
    wanted += [("train", own, view) for view in range(views)]
    key = sha256_json({name: value for name, value in stage.inputs.items() if name != "views"})[:HASHED]
    files: dict[str, list[str]] = {split: [] for split in SPLITS}
    with screen.bar("label", len(wanted)) as bar:
        for split, part, view in wanted:
            name = f"{split}-{view:04d}-{key}"
            found = group.once(partial(_find, stage.folder, name))
            files[split].append(found or _answer_view(network, part, view, stage.folder, name, group))
            bar.advance(note=f"view {view + 1} of {views}")
    return files


def _answer_view(network: nn.Module, task: Task, view: int, folder: Path, name: str, group: Processes) -> str:
    logits = evaluate(network, task, CrossEntropy(), group.device, epoch=view).logits
    if not np.isfinite(logits).all():
        message = "label: the teacher answers NaN or infinity; it is no teacher."
        hint = "Teach again with a lower learning rate, such as --set teacher.lr=0.0001, in a new --out."
        raise group.alike(GateError(message, hint))
    payload = io.BytesIO()
    np.save(payload, logits[:, None, :])
    content = payload.getvalue()
    file = f"{name}-{sha256_bytes(content)[:HASHED]}.npy"
    group.once(lambda: write_bytes(folder / file, content))
    return file


def _find(folder: Path, name: str) -> str | None:
    """The whole file of this name and key, if an earlier labelling left one."""
    for path in folder.glob(f"{name}-*.npy"):
        if sha256_file(path)[:HASHED] == path.stem.rsplit("-", 1)[-1]:
            return path.name
    return None


def _opened(folder: Path, manifest: Manifest, views: int) -> SoftLabels:
    """The first `views` views; their names sort by length, then by number."""
    names = sorted(manifest.files, key=lambda name: (len(name), name))
    by_split = {split: [name for name in names if name.startswith(split)][:views] for split in SPLITS}
    logits = {
        split: np.concatenate([np.load(folder / name) for name in files], axis=1)
        for split, files in by_split.items()
    }
    train, validation = by_split["train"], by_split["validation"]
    digest, origin = (
        soft_labels_digest({name: manifest.files[name] for name in (*chosen, *validation)})
        for chosen in (train, train[:1])
    )
    return SoftLabels(logits, digest, origin)


def _accuracy(file: Path, prepared: Prepared, split: str) -> float:
    """The share of pictures whose own label the answers have, in one view."""
    answers = np.load(file)[:, 0].argmax(axis=1)
    return float((answers == prepared.split(split).labels).mean())
