"""The teacher's answers, computed once: logits (N, V, K) of N images, V views, K classes.

Without augmentation there is one view, the image itself, and it is exact. Whole logits are stored,
not probabilities, so that the temperature stays free.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from accelerate import Accelerator
from torch import nn

from kdtool.core.errors import GateError
from kdtool.core.files import durable, sha256_file
from kdtool.core.lineage import soft_labels_digest
from kdtool.core.manifest import Stage
from kdtool.core.modelinfo import ModelInfo
from kdtool.core.screen import Screen
from kdtool.core.versions import versions_of
from kdtool.data.reader import Prepared
from kdtool.train.fit import Task, evaluate, objective_ce

SPLITS = ("train", "validation")  # never test


@dataclass(frozen=True)
class SoftLabels:
    """`logits[split]` is (N, V, K) float32, in the order of the split's images."""

    logits: Mapping[str, npt.NDArray[np.float32]]
    digest: str


def label(
    teacher: nn.Module, info: ModelInfo, weights: Path, prepared: Prepared, folder: Path, screen: Screen
) -> SoftLabels:
    """Store the teacher's logits on the training and validation images; skipped when they stand.

    Args:
        info: the teacher's record; it sees the images as its own preprocessing says.
        weights: the teacher's file; its hash is part of the key.
    """
    stage = Stage("label", folder, {"teacher": sha256_file(weights), "data": prepared.digest, "views": 1})
    manifest = stage.complete()
    if manifest is None:
        stage.reopen()
        accuracies = _answer(teacher, info, prepared, folder)
        manifest = stage.seal([f"{split}.npy" for split in SPLITS], accuracies, versions_of())
        answered = sum(prepared.counts[split] for split in SPLITS)
        accuracy = accuracies["validation_accuracy"]
        screen.say(
            f"label: the teacher's answers to {answered:,} images; on validation {accuracy:.2%} right."
        )
    else:
        screen.say("label: complete, skipped.")
    logits = {split: np.load(folder / f"{split}.npy") for split in SPLITS}
    return SoftLabels(logits, soft_labels_digest(manifest))


def _answer(teacher: nn.Module, info: ModelInfo, prepared: Prepared, folder: Path) -> dict[str, float]:
    device = Accelerator().device
    teacher = teacher.to(device).to(memory_format=torch.channels_last)
    accuracies = {}
    for name in SPLITS:
        result = evaluate(teacher, Task(prepared.split(name), objective_ce(0.0), info.preprocess), device)
        if not np.isfinite(result.logits).all():
            raise GateError(
                "label: the teacher answers NaN or infinity; it is no teacher.",
                "Teach again with a lower learning rate, such as --set teacher.lr=0.0001, in a new --out.",
            )
        with durable(folder / f"{name}.npy") as partial, partial.open("wb") as stream:
            np.save(stream, result.logits[:, None, :])
        accuracies[f"{name}_accuracy"] = result.accuracy
    return accuracies
