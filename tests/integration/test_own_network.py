"""The loop trains any network with any batches: a plain module, a DataLoader, features of a teacher."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from kdtool.core.errors import Interrupted
from kdtool.core.featurestage import FeatureStage
from kdtool.core.screen import QUIET
from kdtool.losses import feature_loss, kd_loss
from kdtool.train.loop import fit as loop
from kdtool.train.loop.checkpoint import Checkpoints, Progress
from kdtool.train.loop.criterion import CrossEntropy, Distillation, Sum
from kdtool.train.loop.optimizer import Optimization
from kdtool.train.teaching.features import FeatureDistillation, OnlineTeacher
from kdtool.train.together.processes import Processes
from kdtool.train.views.batch import Batch

SIDE, CLASSES = 8, 3
STAGE = FeatureStage("0", (4, SIDE, SIDE), 1)


class Loaded:
    """Adapter from a DataLoader to `kdtool.train.views.batches.Batches`; the epoch decides the order."""

    def __init__(self, loader: DataLoader) -> None:
        self.loader = loader

    def __len__(self) -> int:
        return len(self.loader)

    def epoch(self, number: int, first: int, device: torch.device, group: Processes) -> Iterator[Batch]:
        self.loader.generator.manual_seed(number)
        for step, (images, labels) in enumerate(self.loader):
            if step >= first:
                yield Batch(np.arange(len(labels)), number, images.to(device), labels.to(device))

    def name(self, index: int) -> str:
        return f"image {index}"


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    layers = nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(4, CLASSES))


def data(split: int) -> Loaded:
    """Images whose brightest channel is their class."""
    draws = torch.Generator().manual_seed(split)
    labels = torch.arange(30) % CLASSES
    images = torch.rand(30, 3, SIDE, SIDE, generator=draws) + 2 * torch.eye(3)[labels][:, :, None, None]
    dataset = TensorDataset(images, labels)
    return Loaded(DataLoader(dataset, 8, shuffle=split == 0, generator=torch.Generator()))


def train(folder: Path) -> tuple[dict[str, Tensor], Progress]:
    student, teacher = network(0), OnlineTeacher(network(1))
    logits = Distillation(kd_loss, teacher, weight=0.1, ce_weight=1.0)
    features = FeatureDistillation(
        feature_loss("fitnet", {})([STAGE.shape], [STAGE.shape]),
        [(STAGE, STAGE)],
        student,
        teacher,
        weight=0.1,
    )
    best, progress = loop.fit(
        "own",
        student,
        {"train": data(0), "validation": data(1)},
        {"train": Sum(logits, features), "validation": CrossEntropy()},
        Optimization(epochs=8, lr=0.05, schedule="cosine", weight_decay=1e-4),
        0,
        Checkpoints(folder, "own", QUIET),
        QUIET,
    )
    assert type(student[0]) is nn.Conv2d, "a network that is brought stays what it is"
    return dict(best), progress


def test_an_own_network_learns_and_resumes_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, progress = train(tmp_path / "whole")
    assert progress.rows[progress.best_epoch]["validation_accuracy"] == 1
    count, steps = loop._count, 0

    def stop_in_the_second_epoch(*arguments: object) -> None:
        nonlocal steps
        count(*arguments)
        steps += 1
        if steps == 6:
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_count", stop_in_the_second_epoch)
        with pytest.raises(Interrupted, match="own: stopped in epoch 2 after step 2"):
            train(tmp_path / "parts")
    parts, _ = train(tmp_path / "parts")
    assert all(torch.equal(parts[name], whole[name]) for name in whole)


def test_an_own_network_that_diverges_names_its_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "gradient_norm", lambda _: torch.tensor(torch.nan))
    with pytest.raises(loop.GateError, match=r"gradient norm nan in epoch 1, step 1; .* image 0, image 1"):
        train(tmp_path)
