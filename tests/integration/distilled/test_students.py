"""Training of a student: averages, schedules, resuming, refused settings, and all shipped recipes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from fixtures.screens import Recorder
from fixtures.students import AUGMENT, CNN, CPU, VIT, features, student
from kdtool.arch.network import load_network
from kdtool.core.errors import UsageError
from kdtool.core.files import sha256_file
from kdtool.core.screen import QUIET
from kdtool.data.reader import Prepared
from kdtool.recipe.choices import Trained
from kdtool.recipe.files import load_recipe as load
from kdtool.recipe.files import shipped_recipes
from kdtool.recipe.settings import Recipe
from kdtool.runs.folder import RunFolder
from kdtool.runs.stage import read_manifest
from kdtool.train.check import check_student, check_teacher
from kdtool.train.loop import fit
from kdtool.train.loop.criterion import CrossEntropy
from kdtool.train.loop.evaluate import evaluate
from kdtool.train.student import distill, train_baseline
from kdtool.train.teaching.teacher import teach
from kdtool.train.views.batch import plain_examples
from kdtool.train.views.batches import InOrder


def test_a_teacher_worse_than_its_student_is_said(run: RunFolder, prepared: Prepared) -> None:
    manifest = json.loads((run.role("teacher") / "manifest.json").read_text())
    manifest["result"]["validation_accuracy"] = 0.01
    (run.role("teacher") / "manifest.json").write_text(json.dumps(manifest))
    screen = Recorder()
    distill(run, prepared, student(epochs=1), 0, screen)
    assert any("warning: The teacher is" in line for line in screen.lines)


def test_the_average_is_timms_over_all_steps(prepared: Prepared, tmp_path: Path) -> None:
    """By hand from the weights of each step: decay min(0.9, 1 − (1 + n)^(−2/3)), n over all epochs."""
    settings = student(ema=0.9, epochs=2)
    seen: list[dict[str, torch.Tensor]] = []
    with pytest.MonkeyPatch.context() as patch:
        step = torch.optim.Adam.step

        def recorded(self: Any, *arguments: Any, **options: Any) -> Any:
            result = step(self, *arguments, **options)
            seen.append([one.detach().clone() for group in self.param_groups for one in group["params"]])
            return result

        patch.setattr(torch.optim.Adam, "step", recorded)
        train_baseline(tmp_path, prepared, settings, 0, QUIET)
    assert len(seen) == 4
    best = read_manifest(tmp_path / "manifest.json").result["best_epoch"]
    average = None
    for number, weights in enumerate(seen[: 2 * best], 1):
        n = max(0, number - 1)
        decay = min(0.9, 1 - (1 + n) ** (-2 / 3)) if n else 0.0
        average = (
            weights
            if average is None
            else [decay * old + (1 - decay) * new for old, new in zip(average, weights, strict=True)]
        )
    network, _ = load_network(tmp_path / "model.safetensors")
    for kept, expected in zip(network.parameters(), average, strict=True):
        torch.testing.assert_close(kept, expected, atol=1e-6, rtol=1e-5)


EVERYTHING = {
    "augment": AUGMENT,
    "ema": 0.9,
    "schedule": "cosine",
    "warmup_epochs": 1,
    "optimizer": "adamw",
    "weight_decay": 0.05,
    "precision": "bfloat16",
    "epochs": 3,
}


@pytest.mark.parametrize("fields", [EVERYTHING, features("fitnet") | {"ema": 0.9}], ids=["views", "features"])
def test_resuming_brings_back_everything(
    run: RunFolder,
    prepared: Prepared,
    monkeypatch: pytest.MonkeyPatch,
    fields: dict[str, Any],
    tmp_path: Path,
) -> None:
    """Averages, helper layers and moments are restored too: the weights equal those without interruption."""
    settings = student(**fields)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    distill(run, prepared, settings, 0, QUIET, folder=whole)
    count, steps = fit._count, 0

    def killed(*arguments: Any) -> None:
        nonlocal steps
        count(*arguments)
        steps += 1
        if steps == 3:
            raise SystemExit

    monkeypatch.setattr(fit, "CHECKPOINT_SECONDS", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(fit, "_count", killed)
        with pytest.raises(SystemExit):
            distill(run, prepared, settings, 0, QUIET, folder=parts)
    distill(run, prepared, settings, 0, QUIET, folder=parts)
    assert sha256_file(parts / "model.safetensors") == sha256_file(whole / "model.safetensors")


def test_the_averaged_weights_are_what_is_validated(prepared: Prepared, tmp_path: Path) -> None:
    train_baseline(tmp_path, prepared, student(ema=0.5), 0, QUIET)
    network, _ = load_network(tmp_path / "model.safetensors")
    result = evaluate(network, InOrder(plain_examples(prepared, "validation")), CrossEntropy(), CPU)
    assert result.accuracy == read_manifest(tmp_path / "manifest.json").result["validation_accuracy"]


def test_a_falling_learning_rate_is_trained_again(prepared: Prepared, tmp_path: Path) -> None:
    short, long = student(schedule="cosine"), student(schedule="cosine", epochs=3)
    screen = Recorder()
    train_baseline(tmp_path / "grown", prepared, short, 0, QUIET)
    train_baseline(tmp_path / "grown", prepared, long, 0, screen)
    assert any("baseline: trained again" in line for line in screen.lines)
    train_baseline(tmp_path / "fresh", prepared, long, 0, QUIET)
    grown, fresh = (sha256_file(tmp_path / name / "model.safetensors") for name in ("grown", "fresh"))
    assert grown == fresh


def test_patience_before_the_learning_rate_has_fallen_is_said(prepared: Prepared, tmp_path: Path) -> None:
    screen = Recorder()
    train_baseline(tmp_path, prepared, student(schedule="cosine", patience=1), 0, screen)
    assert any("warning:" in line and "student.patience" in line for line in screen.lines)


@pytest.mark.parametrize(
    "fields, message",
    [
        (features("vitkd"), "the student is not a vision transformer"),
        (features("reviewkd") | {"arch": VIT}, "the student is a vision transformer"),
        (features("fitnet", student_stages=["nowhere"], teacher_stages=["layer2"]), "no stage is called"),
        (features("fitnet", student_stages=["layer2"]), "student_stages"),
        (features("hints"), "student.features.name is 'hints'; allowed: fitnet"),
        ({"loss": {"name": "fitnet"}}, "student.loss.name is 'fitnet'"),
        ({"features": {"nmae": "fitnet"}}, "student.features.nmae is 'fitnet', but .* allowed: a name"),
        (features("", student_stages=["layer2"]), r"features.student_stages is \('layer2',\), but"),
        ({"features": {"weight": 100.0}}, "student.features.weight is 100.0, but student.features.name is"),
        ({"features": {"warmup_epochs": 1}}, "student.features.warmup_epochs is 1, but"),
        (features("fitnet", weight=0.0), "student.features.weight is 0, so fitnet .* allowed: above 0"),
        (features(""), r"learns nothing from the teacher; .*\n.*loss.weight=0.5; .*: --baseline"),
        ({"views": 3}, "student.views is 3 without augmentation, .* allowed: 0"),
        ({"warmup_epochs": 2}, r"student.warmup_epochs is 2, student.epochs is 2.* allowed: 0 to 1\.\n.*=4"),
        ({"loss": {"warmup_epochs": 5}}, "student.loss.warmup_epochs is 5, student.epochs is 2"),
        (features("fitnet", warmup_epochs=2), "student.features.warmup_epochs is 2, student.epochs is 2"),
        ({"augment": {"flip": True, "magnitude": 5}}, "student.augment.magnitude is 5 without RandAugment"),
        ({"loss": {"standardize": "no"}}, "student.loss.standardize is 'no'; allowed: true or false"),
    ],
)
def test_what_cannot_be_learnt_is_refused_before_any_photograph(
    tmp_path: Path, fields: dict[str, Any], message: str
) -> None:
    recipe = Recipe(
        name="mine",
        data={"size": 32},
        teacher={"arch": CNN, "weights": "none"},
        student=student(**fields).model_dump(),
    )
    with pytest.raises(UsageError, match=message):
        check_student(RunFolder(tmp_path / "run"), recipe)


TINY = {"teacher": {"epochs": 1}, "student": {"epochs": 1, "batch_size": 16}}


@pytest.mark.parametrize("name", [name for name in shipped_recipes() if name != "digits"])
def test_every_shipped_recipe_trains(name: str, prepared: Prepared, tmp_path: Path) -> None:
    """Each recipe trains the smallest network of its kind for one epoch."""
    recipe = load(name)
    networks = {
        section: getattr(recipe, section).model_copy(
            update={
                "arch": VIT if "deit" in getattr(recipe, section).arch else CNN,
                "weights": "none",  # and so nothing can stay as the weights have it
                "train": Trained.ALL,
                "freeze_norm": False,
            }
        )
        for section in TINY
    }
    folder = RunFolder(tmp_path / "run")
    small = recipe.model_copy(update={**networks, "data": recipe.data.model_copy(update={"size": 32})})
    check_teacher(folder, small)
    check_student(folder, small)
    sections = {section: networks[section].model_copy(update=TINY[section]) for section in TINY}
    teach(folder, prepared, sections["teacher"], 0, QUIET)
    manifest = distill(folder, prepared, sections["student"], 0, QUIET)
    assert 0 <= manifest.result["validation_accuracy"] <= 1
