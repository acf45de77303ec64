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
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

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

Kind = Literal["float32", "float16"]
SPLITS = ("train", "validation")  # never test
HASHED = 16  # hexadecimal digits of a hash in a file's name
DRAWN_BY = ("numpy", "torch", "torchvision")  # whose other versions may draw other views


@dataclass(frozen=True)
class SoftLabels:
    """The teacher's answers.

    Attributes:
        views: split → the answers to each view, (N, 1, K) float32 or float16, memory maps in the order of
            the split's images.
        digest: of all of them; origin: of validation and the first view, whose content changes with
            all that the answers are a function of, but not with the number of views.
    """

    views: Mapping[str, tuple[npt.NDArray[np.floating[Any]], ...]]
    digest: str
    origin: str

    @cached_property
    def logits(self) -> dict[str, npt.NDArray[np.float32]]:
        """Split → (N, V, K), read into memory."""
        return {split: np.concatenate(views, axis=1, dtype=np.float32) for split, views in self.views.items()}

    def answers(self, split: str) -> Answers:
        """The stored logits of a batch of `split`, looked up by image and view."""
        views = self.views[split]

        def stored(batch: Batch) -> Tensor:
            rows = np.asarray(views[batch.view][batch.indices, 0], np.float32)
            return torch.from_numpy(rows).to(batch.images.device)

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
    """
    views = task.views if task.augment.active else 1
    stage = Stage("label", folder, {**_key(teacher, prepared, task, kind), "views": views})
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


def _key(teacher: Teacher, prepared: Prepared, task: Task, kind: Kind) -> dict[str, Any]:
    """What the answers to one view are a function of."""
    key: dict[str, Any] = {"teacher": teacher.digest, "data": prepared.digest}
    if kind != "float32":
        key["kind"] = kind
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
    teacher: Teacher, prepared: Prepared, task: Task, stage: Stage, kind: Kind, screen: Screen
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
            files[split].append(found or _answer_view(network, part, view, stage.folder, name, kind, group))
            bar.advance(note=f"view {view + 1} of {views}")
    return files


def _answer_view(
    network: nn.Module, task: Task, view: int, folder: Path, name: str, kind: Kind, group: Processes
) -> str:
    answers = evaluate(network, task, CrossEntropy(), group.device, epoch=view).logits
    if not np.isfinite(answers).all():
        message = "label: the teacher answers NaN or infinity; it is no teacher."
        hint = "Teach again with a lower learning rate, such as --set teacher.lr=0.0001, in a new --out."
        raise group.alike(GateError(message, hint))
    with np.errstate(over="ignore"):
        logits = answers.astype(kind)
    if not np.isfinite(logits).all():
        message = f"label: the teacher answers {np.abs(answers).max():g}, which {kind} does not hold."
        raise group.alike(GateError(message, "Store its answers whole: --set student.answers=float32"))
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
    answers = {
        split: tuple(np.load(folder / name, mmap_mode="r") for name in files)
        for split, files in by_split.items()
    }
    train, validation = by_split["train"], by_split["validation"]
    digest, origin = (
        soft_labels_digest({name: manifest.files[name] for name in (*chosen, *validation)})
        for chosen in (train, train[:1])
    )
    return SoftLabels(answers, digest, origin)


def _accuracy(file: Path, prepared: Prepared, split: str) -> float:
    """The share of pictures whose own label the answers have, in one view."""
    answers = np.load(file)[:, 0].argmax(axis=1)
    return float((answers == prepared.split(split).labels).mean())
