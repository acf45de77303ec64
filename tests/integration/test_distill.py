"""`kdtool.distill` trains a caller's networks with a caller's losses and DataLoaders."""

from __future__ import annotations

import copy
import csv
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

import kdtool
from kdtool.core.errors import GateError, Interrupted, LockedError
from kdtool.losses import FEATURE_LOSSES, LOGIT_LOSSES, kd_loss
from kdtool.machine.threads import usable_threads
from kdtool.runs.lock import run_lock
from kdtool.train.loop import fit as loop

SIDE, CLASSES = 16, 3


class Convolutions(nn.Module):
    """CNN in the style of old tutorials: `view` works only with the memory layout of a plain forward pass."""

    def __init__(self, width: int, classes: int = CLASSES) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, stride=2, padding=1)
        self.stage1 = nn.Sequential(nn.Conv2d(width, width, 3, stride=2, padding=1), nn.ReLU())
        self.stage2 = nn.Sequential(nn.Conv2d(width, 2 * width, 3, padding=1), nn.BatchNorm2d(2 * width))
        self.drop, self.head = nn.Dropout(0.2), nn.Linear(32 * width, classes)
        self.unused = nn.Linear(2, 2)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.stage2(self.stage1(self.stem(images).relu())).relu()
        logits: Tensor = self.head(self.drop(maps.view(len(images), -1)))
        return logits


class Tokens(nn.Module):
    """Transformer: a class token, the patch tokens, and blocks."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.patches, self.token = nn.Conv2d(3, width, 4, 4), nn.Parameter(torch.zeros(1, 1, width))
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(width, width), nn.GELU()) for _ in range(3))
        self.pair, self.head = Pair(), nn.Linear(width, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).mT
        tokens = torch.cat([self.token.expand(len(images), -1, -1), tokens], 1)
        for block in self.blocks:
            tokens = tokens + block(tokens)
        logits: Tensor = self.head(self.pair(tokens)[0].mean(1))
        return logits


class Pair(nn.Module):
    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        return tokens, tokens


class Noisy(Dataset):
    """Data set of images whose brightest channel is their class, with noise from torch's generator."""

    def __init__(self, split: int) -> None:
        self.images, self.labels = pictures(split)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.images[index] + 0.1 * torch.randn(3, SIDE, SIDE), self.labels[index]


def pictures(split: int, count: int = 30) -> tuple[Tensor, Tensor]:
    draws, labels = torch.Generator().manual_seed(split), torch.arange(count) % CLASSES
    images = torch.rand(count, 3, SIDE, SIDE, generator=draws)
    return images - 0.5 + torch.eye(3)[labels][:, :, None, None], labels


def loader(split: int, **options: Any) -> DataLoader:
    return DataLoader(TensorDataset(*pictures(split)), 8, shuffle=split == 0, **options)


def network(seed: int, width: int = 4, kind: type = Convolutions) -> nn.Module:
    torch.manual_seed(seed)
    made: nn.Module = kind(width)
    return made


@pytest.fixture(scope="module")
def teacher() -> nn.Module:
    own = network(1, 8)
    made = kdtool.distill(own, None, loader(0), loader(1), epochs=4, lr=0.01, quiet=True)
    assert (made.teacher_accuracy, made.accuracy) == (None, 1)
    return own


def train(student: nn.Module, teacher: nn.Module | None, **changes: Any) -> kdtool.Distilled:
    given = {"train": loader(0), "validation": loader(1), "epochs": 1, "lr": 0.01, "quiet": True}
    return kdtool.distill(student, teacher, **(given | changes))


def hooks(network: nn.Module) -> int:
    return sum(len(one._forward_hooks) + len(one._forward_pre_hooks) for one in network.modules())


def test_a_student_learns_in_place_and_the_rest_stays_as_it_was(
    teacher: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    teacher, student = copy.deepcopy(teacher).train(), network(0)
    teacher.stem.requires_grad_(False)
    before, drawn, threads = (
        copy.deepcopy(teacher.state_dict()),
        torch.get_rng_state(),
        torch.get_num_threads(),
    )
    layers = {"student_layers": ["stage1", "stage2.0"], "teacher_layers": ["stage1", "stage2"]}
    made = train(student, teacher, epochs=8, features="fitnet", features_weight=0.1, **layers)
    assert made.student is student
    assert made.accuracy == max(row["validation_accuracy"] for row in made.history) > 0.8
    assert made.history[made.best_epoch - 1]["validation_accuracy"] == made.accuracy
    assert [row["epoch"] for row in made.history] == list(range(1, 9))
    images, labels = pictures(1)
    hits = (student(images).argmax(1) == labels).float().mean().item()
    assert hits == pytest.approx(made.accuracy), "not the best weights"
    shown = f"{made.accuracy:.2%} in epoch {made.best_epoch} of 8; teacher 100.00%"
    assert repr(made) == f"Distilled(Convolutions: {shown})"
    assert not any(module.training for module in student.modules())
    assert all(module.training for module in teacher.modules())
    assert [name for name, one in teacher.named_parameters() if not one.requires_grad] == [
        "stem.weight", "stem.bias",
    ]  # fmt: skip
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    assert hooks(teacher) == hooks(student) == 0
    assert student.stem.weight.is_contiguous()
    assert torch.equal(torch.get_rng_state(), drawn)
    assert torch.get_num_threads() == threads
    assert not list(tmp_path.iterdir())


def test_the_weights_are_those_of_the_best_epoch(teacher: nn.Module) -> None:
    """A trained student then learns wrong labels, so the first epoch is the best."""
    student, (images, labels) = copy.deepcopy(teacher), pictures(0)
    wrong, threads = [(images, (labels + 1) % CLASSES)], set()
    student.register_forward_hook(lambda *_: threads.add(torch.get_num_threads()))
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    made = train(student, None, train=wrong, epochs=20, schedule="constant")
    torch.set_num_threads(before)
    images, labels = pictures(1)
    assert made.best_epoch == 1
    assert made.history[-1]["validation_accuracy"] < 0.5 < made.accuracy
    assert (student(images).argmax(1) == labels).float().mean().item() == pytest.approx(made.accuracy)
    assert threads == {usable_threads()}, "another number of threads gives other last bits"


@pytest.mark.parametrize("name", LOGIT_LOSSES)
def test_each_loss_on_logits_trains(name: str, teacher: nn.Module) -> None:
    assert (
        train(network(0), teacher, loss=name).history[0]["train_loss"]
        != train(network(0), teacher, loss=name, weight=0.25).history[0]["train_loss"]
    )


@pytest.mark.parametrize("name", FEATURE_LOSSES)
@pytest.mark.parametrize("created", [False, True])
def test_each_loss_on_features_trains(name: str, created: bool, teacher: nn.Module) -> None:
    layers = ["stage1", "stage2"]
    students: list[nn.Module] = [network(0), network(0)]
    if len(FEATURE_LOSSES[name].EXAMPLE[0]) == 2:
        layers, teacher = ["blocks.0", "blocks.1", "blocks.2"], network(1, 8, Tokens)
        students = [network(0, 4, Tokens), network(0, 4, Tokens)]
    own = {"features": kdtool.create_loss(name) if created else name, "weight": 0.0}
    own |= {"student_layers": layers, "teacher_layers": layers}
    one, other = (
        train(student, teacher, features_weight=weight, **own)
        for student, weight in zip(students, (1, 2), strict=True)
    )
    assert one.history[0]["train_loss"] != other.history[0]["train_loss"]


def test_layers_are_chosen_if_the_stages_are_known(teacher: nn.Module) -> None:
    named = {"student_layers": ["stage2"], "teacher_layers": ["stage2"]}
    losses = [
        train(network(0), teacher, features="fitnet", **own).history[0]["train_loss"] for own in ({}, named)
    ]
    assert losses[0] == losses[1]


def test_the_loss_is_the_sum_that_the_docstring_says(teacher: nn.Module) -> None:
    """Train on one batch an epoch, without dropout, with a learning rate too small to change the loss."""
    batch, seen = pictures(0), []
    student = nn.Sequential(nn.Conv2d(3, 4, 3, 4), nn.Flatten(), nn.Linear(64, CLASSES))

    def same(images: Tensor) -> Tensor:
        seen.append(images)
        return 2 * images

    class Distance(nn.Module):
        def __init__(self, student: Any, teacher: Any) -> None:
            super().__init__()
            assert (list(student), list(teacher)) == ([(4, 4, 4)], [(8, 4, 4)])

        def forward(self, student: list[Tensor], teacher: list[Tensor]) -> Tensor:
            return (student[0].mean() - teacher[0].mean()).square()

    with torch.no_grad():
        features, logits = student[0](batch[0]), student(batch[0])
        own = copy.deepcopy(teacher).eval()
        stage1, answers = own.stage1(own.stem(2 * batch[0]).relu()), own(2 * batch[0])
    made = train(
        student, teacher, train=[batch], validation=[batch], epochs=5, lr=1e-12, schedule="constant",
        loss=lambda student, teacher, target: kd_loss(student, teacher, target, temperature=2.0),
        weight=0.7, ce_weight=0.2, label_smoothing=0.1, loss_warmup_epochs=4, teacher_input=same,
        features=Distance, features_weight=3.0, student_layers=["0"], teacher_layers=["stage1"],
    )  # fmt: skip
    hard = 0.2 * F.cross_entropy(logits, batch[1], label_smoothing=0.1)
    soft = 0.7 * kd_loss(logits, answers, batch[1], temperature=2.0)
    inside = 3 * (features.mean() - stage1.mean()).square()
    expected = [float(hard + min(1, epoch / 4) * (soft + inside)) for epoch in range(1, 6)]
    assert [row["train_loss"] for row in made.history] == pytest.approx(expected, rel=1e-4)
    assert made.history[0]["validation_loss"] == pytest.approx(float(hard + soft), rel=1e-4)
    assert all(torch.equal(images[:30], batch[0]) for images in seen), "the teacher sees other images"


def test_how_it_is_trained_is_up_to_the_caller(teacher: nn.Module) -> None:
    own = {"precision": "bfloat16", "optimizer": "sgd", "weight_decay": 0.01, "warmup_epochs": 2}
    made = train(network(0), teacher, **own, schedule="constant", lr=1e-9, epochs=9, patience=2)
    assert [row["lr"] for row in made.history] == pytest.approx([0.25e-9, 0.75e-9, 1e-9])
    assert made.best_epoch == 1, "patience did not stop a training that no longer improves"


def test_parameters_of_a_loss_train_along(teacher: nn.Module) -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, student: Tensor, teacher: Tensor, target: Tensor) -> Tensor:
            return F.mse_loss(self.scale * student, teacher)

    loss = Scaled()
    train(network(0), teacher, loss=loss)
    assert loss.scale != 1


def test_a_distillation_token_learns_from_the_teacher(teacher: nn.Module) -> None:
    torch.manual_seed(0)
    shape = {"img_size": SIDE, "patch_size": 4, "embed_dim": 12, "depth": 1, "num_heads": 2}
    student = timm.models.deit.VisionTransformerDistilled(num_classes=CLASSES, **shape)
    before = student.head_dist.weight.clone()
    train(student, teacher, loss="deit_hard", ce_weight=0.0)
    assert not torch.equal(student.head_dist.weight, before)
    assert isinstance(student.train()(pictures(0)[0]), Tensor), "it still gives both heads"


class Stop:
    """Replacement of the loop's `_count` that raises SIGTERM after `steps` steps."""

    def __init__(self, steps: int) -> None:
        self.steps, self.count = steps, loop._count

    def __call__(self, *arguments: Any) -> None:
        self.count(*arguments)
        self.steps -= 1
        if not self.steps:
            signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_training_goes_on_to_the_same_bits(
    workers: int, teacher: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stop in the second epoch; shuffling, noise, dropout, helper layers and the EMA must all be restored."""

    def run(out: Path) -> kdtool.Distilled:
        context = "fork" if workers else None
        noisy = DataLoader(Noisy(0), 8, shuffle=True, num_workers=workers, multiprocessing_context=context)
        torch.manual_seed(torch.seed())  # the state of the generator must not matter
        student = network(0)
        student.head.weight = nn.Parameter(student.head.weight.detach().clone())
        return train(
            student, teacher, train=noisy, epochs=3, ema=0.9, out=out, features="reviewkd",
            student_layers=["stage1", "stage2"], teacher_layers=["stage1", "stage2"],
        )  # fmt: skip

    whole = run(tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(loop, "_count", Stop(6))
        with pytest.raises(
            Interrupted, match=r"^distill: stopped in epoch 2 after step 2; the state is saved"
        ):
            run(tmp_path / "parts")
    parts = run(tmp_path / "parts")
    state = parts.student.state_dict()
    assert all(torch.equal(state[name], value) for name, value in whole.student.state_dict().items())
    timed = {"seconds", "images_per_second"}
    for one, other in zip(parts.history, whole.history, strict=True):
        assert {k: v for k, v in one.items() if k not in timed} == {
            k: v for k, v in other.items() if k not in timed
        }
    again = run(tmp_path / "parts")
    assert again.history == parts.history, "a finished training began again"
    assert {path.name for path in (tmp_path / "parts").iterdir()} == {
        ".lock", "checkpoints", "distill.json", "history.csv",
    }  # fmt: skip
    assert len(list((tmp_path / "parts" / "checkpoints").iterdir())) == 1
    rows = list(csv.DictReader((tmp_path / "parts" / "history.csv").open()))
    assert [float(row["lr"]) for row in rows] == pytest.approx([row["lr"] for row in parts.history], rel=1e-5)


def test_the_order_follows_from_the_seed_alone(teacher: nn.Module) -> None:
    """Neither the generator of the loader nor earlier random numbers change the order."""
    states = []
    for seed, draws in ((5, None), (5, torch.Generator().manual_seed(7)), (5, torch.Generator()), (6, None)):
        made = train(network(0), teacher, train=loader(0, generator=draws), seed=seed)
        states.append(made.student.state_dict()["head.weight"])
    assert not torch.equal(states[0], states[3])
    assert torch.equal(states[1], states[2])


def test_a_sampler_is_told_the_epoch(teacher: nn.Module) -> None:
    class Sampler:
        epochs: list[int] = []  # noqa: RUF012  # one instance, of this test

        def set_epoch(self, epoch: int) -> None:
            self.epochs.append(epoch)

        def __iter__(self) -> Iterator[int]:
            return iter(range(8))

        def __len__(self) -> int:
            return 8

    train(network(0), teacher, train=DataLoader(TensorDataset(*pictures(0)), 4, sampler=Sampler()), epochs=2)
    # distill reads the first batch before training, and each epoch again for statistics of normalization
    assert Sampler.epochs == [0, 0, 0, 1, 1]


def test_another_training_in_the_folder_is_not_resumed(teacher: nn.Module, tmp_path: Path) -> None:
    first = train(network(0), teacher, out=tmp_path, schedule="constant")
    longer = train(network(0), teacher, out=tmp_path, schedule="constant", epochs=2)
    assert longer.history[0] == first.history[0]
    for changes, different in (
        ({"lr": 0.02}, "lr"),
        ({"loss": kdtool.create_loss("kd", temperature=2.0)}, "loss"),
        ({"train": loader(2)}, "train"),
        ({"student": network(3)}, "student"),
        ({"teacher": network(3)}, "teacher"),
    ):
        given = {"student": network(0), "teacher": teacher, "schedule": "constant", "out": tmp_path} | changes
        with pytest.raises(ValueError, match=rf"^out: .* holds another training; different: {different}\.\n"):
            train(**given)
    with run_lock(tmp_path), pytest.raises(LockedError):
        train(network(0), teacher, out=tmp_path)


def test_without_a_folder_nothing_is_saved(teacher: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_count", Stop(2))
    with pytest.raises(Interrupted, match=r"^distill: stopped; out is None, so nothing is saved\."):
        train(network(0), teacher)


def test_a_training_that_diverges_names_its_images(teacher: nn.Module) -> None:
    student = network(0)
    with pytest.raises(
        GateError, match=r"distill: loss nan, .* in epoch 1, step 1; .* train\[0\], train\[1\]"
    ):
        train(student, teacher, loss=lambda student, teacher, target: student.sum() * torch.nan)
    assert hooks(student) == 0


def test_tied_weights_are_saved(teacher: nn.Module, tmp_path: Path) -> None:
    student = network(0)
    student.other = student.unused
    assert train(student, teacher, out=tmp_path).history


class Twice(nn.Module):
    """Network that returns a second tensor of logits in training, like networks with auxiliary heads."""

    def __init__(self) -> None:
        super().__init__()
        self.network = network(0)

    def forward(self, images: Tensor) -> Any:
        logits = self.network(images)
        return (logits, logits) if self.training else logits


IMAGES, LABELS = pictures(0)
BATCH = [(IMAGES, LABELS)]
FEATURES = {"features": "fitnet", "student_layers": ["stage1"], "teacher_layers": ["stage1"]}
OWN, OTHER = Convolutions(4), nn.Linear(4, CLASSES)
FLAT = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE**2, CLASSES))
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"student": "resnet18"}, r"^student is of type str; allowed: a torch\.nn\.Module"),
    ({"student": nn.Flatten()}, r"^student has no parameters to train"),
    ({"student": nn.Linear(3, 3)}, r"^student fails on images of shape \(8, 3, 16, 16\): mat1"),
    ({"student": OWN.stem}, r"^student returns \(8, 4, 8, 8\) for 8 images; allowed: logits \(8, K\)"),
    ({"student": Twice()}, r"^student returns an object of type tuple for 8 images; allowed: logits"),
    ({"teacher": Convolutions(4, 5)}, r"^student returns 3 logits for an image, teacher 5; allowed: one for"),
    ({"teacher": nn.Identity()}, r"^teacher returns \(8, 3, 16, 16\) for 8 images"),
    ({"teacher_input": lambda images: images[:, :1]}, r"^teacher fails on images of shape \(8, 3, 16, 16\)"),
    ({"train": iter(BATCH)}, r"^train is of type list_iterator, which can be iterated only once\.\nGiv"),
    ({"train": []}, r"^train has no batches"),
    ({"validation": 3}, r"^validation is of type int; allowed: batches"),
    ({"train": TensorDataset(IMAGES, LABELS)}, r"^train: batch 1 is \(a tensor \(3, 16, 16\) of float32, a"),
    ({"train": [(IMAGES.byte(), LABELS)]}, r"^train: batch 1 is \(a tensor \(30, 3, 16, 16\) of uint8, a te"),
    ({"train": [IMAGES]}, r"^train: batch 1 is a tensor \(30, 3, 16, 16\) of float32; allowed: images \(B"),
    ({"train": [{"images": IMAGES}]}, r"^train: batch 1 is of type dict; allowed: images"),
    ({"train": [(IMAGES, LABELS.float())]}, r"^train: batch 1 is .* \(30,\) of float32\); allowed: images"),
    ({"train": [(IMAGES, LABELS[1:])]}, r"^train: batch 1 is .* a tensor \(29,\) of int64\); allowed: image"),
    ({"validation": [*BATCH, (IMAGES, LABELS + 1)]}, r"^validation: batch 2 has the label 3; allowed: 0 to"),
    ({"train": [(IMAGES, LABELS - 1)]}, r"^train: batch 1 has the label -1; allowed: 0 to 2"),
    ({"epochs": 0}, r"^epochs is 0: Input should be greater"),
    ({"lr": -1.0}, r"^lr is -1\.0: Input should be greater"),
    ({"optimizer": "lion"}, r"^optimizer is 'lion': Input should be 'adam', 'adamw' or 'sgd'"),
    ({"weight": -1}, r"^weight is -1: Input should be greater"),
    ({"seed": -1}, r"^seed is -1: Input should be greater"),
    ({"student_layers": "stage1"}, r"^student_layers is 'stage1': Input should be a valid tuple"),
    ({"warmup_epochs": 1}, r"^warmup_epochs is 1; allowed: 0 to 0, fewer than epochs"),
    ({"loss_warmup_epochs": 2}, r"^loss_warmup_epochs is 2; allowed: 0 to 0"),
    ({"weight": 0}, r"^weight is 0 and features is None, so the student learns nothing"),
    ({"loss": "hinton"}, r"^loss is 'hinton'; allowed: kd, .*, deit_soft\.\nSee kdtool\.list_losses"),
    ({"loss": "fitnet"}, r'^loss is \'fitnet\'; allowed: kd, .*\nGive it as features="fitnet"'),
    ({"loss": kdtool.create_loss("fitnet")}, r"^loss cannot be called as \(student_logits, teacher_logits,"),
    ({"loss": lambda s, t, y: F.cross_entropy(s, y, reduction="none")}, r"^loss returns \(8,\); all.* sc"),
    ({**FEATURES, "features": "kd"}, r'^features is \'kd\'; allowed: fitnet, .*\nGive it as loss="kd"'),
    ({**FEATURES, "features": kdtool.create_loss("kd")}, r"^features cannot be called as \(student_shapes,"),
    ({**FEATURES, "features": lambda student, teacher: 3}, r"^features returns an object of type int; all"),
    ({**FEATURES, "features_weight": 0}, r"^features_weight is 0: Input should be greater than 0"),
    ({**FEATURES, "teacher": None}, r"^features: there is no teacher to compare"),
    ({"teacher_layers": ["stage1"]}, r"^teacher_layers is given without features"),
    ({**FEATURES, "student_layers": ["stage3"]}, r"^student_layers: Convolutions has no module 'stage3'; si"),
    ({**FEATURES, "teacher_layers": ["x"]}, r"^teacher_layers: .* no module 'x'; similar: stem, stage1"),
    ({**FEATURES, "teacher_layers": ["unused"]}, r"^teacher_layers: the forward pass does not use module"),
    ({**FEATURES, "teacher_layers": ["head"]}, r"^teacher_layers: 'head' returns a tensor \(8, 3\); allow"),
    ({**FEATURES, "teacher": Tokens(4), "teacher_layers": ["pair"]}, r"^teacher_layers: 'pair' returns an"),
    ({**FEATURES, "teacher_layers": []}, r"^student_layers has 1 names, teacher_layers 0; allowed: the same"),
    ({"features": "fitnet", "teacher": FLAT}, r"^teacher_layers is missing: kdtool cannot choose layer"),
    ({**FEATURES, "features": "vitkd"}, r"^features: this loss compares patch tokens; the student is not a"),
    ({**FEATURES, "student_layers": ["stage2"], "teacher_layers": ["stem"], "features": "vitkd"},
     r"For CNNs: features=reviewkd$"),
    ({"features": "reviewkd", "student": network(0), "validation": BATCH,
      "teacher": nn.Sequential(nn.Conv2d(3, 4, 3, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), OTHER)},
     r"^features: after the stem, .* no feature maps of the same size; .*\n.* student_layers and teacher_la"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "message"), WRONG, ids=[message[1:40] for _, message in WRONG])
def test_a_wrong_argument_is_a_value_error_that_names_it(
    changes: dict[str, Any], message: str, teacher: nn.Module, tmp_path: Path
) -> None:
    given = {"student": network(0), "teacher": teacher, "out": tmp_path / "out"} | changes
    with pytest.raises(ValueError, match=message) as raised:
        train(**given)
    assert "--" not in str(raised.value)
    assert hooks(teacher) == 0
    if isinstance(given["student"], nn.Module):
        assert hooks(given["student"]) == 0


def test_batches_must_not_become_fewer(teacher: nn.Module) -> None:
    class Shrinking(list):
        def __iter__(self) -> Iterator[Any]:
            yield self[0]

    with pytest.raises(ValueError, match=r"^train ends after 1 batches; at first it had 2\."):
        train(network(0), teacher, train=Shrinking(2 * BATCH))


def test_several_processes_are_refused(teacher: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kdtool.api.training.trainer.process_count", lambda: 2)
    with pytest.raises(ValueError, match=r"^kdtool\.distill is called in 2 processes; allowed is one"):
        train(network(0), teacher)
