"""Fine-tuning of the student for INT8: simulated INT8 arithmetic, and the teacher's logits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from kdtool.arch.network import load_exactly, read_info, read_weights
from kdtool.calibration.ranges import REVISION, WITHOUT_COUNTS
from kdtool.core.files import sha256_file
from kdtool.core.preprocess import Preprocess
from kdtool.core.screen import Screen
from kdtool.data.reader import Prepared
from kdtool.recipe.choices import SCRATCH, Calibration, Precision
from kdtool.recipe.settings import StudentSettings
from kdtool.recipe.terms import FeatureSettings
from kdtool.runs.folder import RunFolder
from kdtool.train.int8.fakequant import Int8, input_ranges, simulate
from kdtool.train.loop.criterion import Criterion
from kdtool.train.stage import WEIGHTS, Training, prior_of, train, training_examples
from kdtool.train.student import logit_criteria, resolved_loss
from kdtool.train.teaching.source import teacher_logits_of
from kdtool.train.teaching.teacher import open_teacher
from kdtool.train.views.batch import plain_examples

OBSERVED, BATCH = 256, 32  # number of training images for the ranges of activations, and their batch size


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
    """Fine-tune the student of the run into `run.finetuned`, so that it loses less accuracy in INT8.

    Loss, batch size, augmentation and the teacher's logits are those of the distillation. The network is
    validated with simulated INT8.

    Returns:
        File of the weights, in float32.

    Raises:
        ModelFileError: the file of student or teacher is damaged.
        GateError, Interrupted: see `kdtool.train.loop.fit.fit`.
    """
    source = run.weights("student")
    preprocess = read_info(source).preprocess
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
        "views": settings.seen_views,  # as many as there are soft labels
    }
    settings = settings.model_copy(update=changes)
    teacher = open_teacher(run, prepared.for_teacher)
    loss = resolved_loss(settings.loss, prepared, teacher.info, screen)
    joined = prepared.for_student
    examples = training_examples(joined, settings, seed)
    logits = teacher_logits_of(teacher, joined, examples, settings, run.soft_labels, screen)
    criteria = logit_criteria(settings, loss, logits, prior_of(joined))

    def simulated(network: nn.Module) -> Mapping[str, Criterion]:
        load_exactly(network, read_weights(source)[0], str(source))
        observed = ObservedImages(prepared, preprocess)
        simulate(network, input_ranges(network, observed, calibration), int8)
        return criteria(network)

    parents: dict[str, Any] = {
        "student": sha256_file(source),
        "loss": loss.model_dump(mode="json", exclude_defaults=True),
        "teacher": teacher.digest,
        "int8": asdict(int8),
    }
    if calibration not in WITHOUT_COUNTS:
        parents["ranges"] = [calibration, REVISION]
    training = Training("student", run.finetuned, settings, seed, seed, parents, preprocess=preprocess)
    train(joined, training, simulated, screen)
    return run.finetuned / WEIGHTS


@dataclass(frozen=True)
class ObservedImages:
    """Batches of training images, evenly spread over the split; may be iterated more than once."""

    prepared: Prepared
    preprocess: Preprocess

    def __iter__(self) -> Iterator[Tensor]:
        examples = plain_examples(self.prepared, "train", self.preprocess)
        samples = len(examples)
        chosen = np.unique(np.linspace(0, samples - 1, min(OBSERVED, samples)).round().astype(np.int64))
        for start in range(0, len(chosen), BATCH):
            yield examples.batch(chosen[start : start + BATCH], 0, torch.device("cpu")).images
