"""The student, fine-tuned for 8 bits: it computes as in INT8 and learns from the teacher's logits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kdtool.arch.network import load_exactly, read_weights
from kdtool.calibration.ranges import REVISION, WITHOUT_COUNTS
from kdtool.core.files import sha256_file
from kdtool.core.screen import Screen
from kdtool.data.reader import Prepared
from kdtool.recipe.choices import SCRATCH, Calibration, Precision
from kdtool.recipe.settings import FeatureSettings, StudentSettings
from kdtool.runs.folder import RunFolder
from kdtool.train.int8.fakequant import Int8, input_ranges, simulate
from kdtool.train.loop.criterion import Criterion
from kdtool.train.stage import WEIGHTS, Training, train, training_examples
from kdtool.train.student import on_logits, resolved_loss
from kdtool.train.teaching.source import teacher_logits_of
from kdtool.train.teaching.teacher import open_teacher
from kdtool.train.views.batch import plain_examples

WATCHED, BATCH = 256, 32  # training images that the ranges of activations are seen on


def finetune(
    run: RunFolder,
    prepared: Prepared,
    settings: StudentSettings,
    epochs: int,
    lr: float,
    int8: Int8,
    calibration: Calibration,
    seed: int,
    screen: Screen,
) -> Path:
    """Fine-tune the run's student into `run.finetuned`; returns its weights, float ones that bear quantizing.

    Loss, batch size and augmentation are the student's own, the teacher's logits those it was distilled
    with. What is validated and kept is the simulated INT8 network.

    Raises:
        ModelFileError: student or teacher is damaged.
        GateError, Interrupted: as `kdtool.train.loop.fit.fit`.
    """
    source = run.weights("student")
    changes = {
        "epochs": epochs,
        "lr": lr,
        "patience": 0,
        "warmup_epochs": 0,
        "schedule": "cosine",
        "ema": 0.0,
        "weights": SCRATCH,
        "precision": Precision.FLOAT32,
        "features": FeatureSettings(),
        "views": settings.seen_views,  # no more than there are soft labels of
    }
    own = settings.model_copy(update=changes)
    teacher = open_teacher(run, prepared)
    loss = resolved_loss(own.loss, prepared, teacher.info, screen)
    examples = training_examples(prepared, own, seed)
    logits = teacher_logits_of(teacher, prepared, examples, own, run.soft_labels, screen)
    criteria = on_logits(own, loss, logits)

    def simulated(network: nn.Module) -> Mapping[str, Criterion]:
        load_exactly(network, read_weights(source)[0], str(source))
        simulate(network, input_ranges(network, WatchedImages(prepared), calibration), int8)
        return criteria(network)

    parents: dict[str, Any] = {
        "student": sha256_file(source),
        "loss": loss.model_dump(mode="json", exclude_defaults=True),
        "teacher": teacher.digest,
        "int8": asdict(int8),
    }
    if calibration not in WITHOUT_COUNTS:
        parents["ranges"] = [calibration, REVISION]
    train(prepared, Training("student", run.finetuned, own, seed, seed, parents), simulated, screen)
    return run.finetuned / WEIGHTS


@dataclass(frozen=True)
class WatchedImages:
    """Training images, evenly spread, in batches; may be gone through more than once."""

    prepared: Prepared

    def __iter__(self) -> Iterator[Tensor]:
        examples = plain_examples(self.prepared, "train")
        samples = len(examples)
        chosen = np.unique(np.linspace(0, samples - 1, min(WATCHED, samples)).round().astype(np.int64))
        for start in range(0, len(chosen), BATCH):
            yield examples.batch(chosen[start : start + BATCH], 0, torch.device("cpu")).images
