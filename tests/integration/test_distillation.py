"""What a student can learn from: views, features, a distillation token; on tiny networks, for real."""

from __future__ import annotations

import dataclasses
import json
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file

from kdtool.arch.network import load_network, save_network
from kdtool.core.errors import Interrupted, UsageError
from kdtool.core.files import sha256_file
from kdtool.core.manifest import read_manifest
from kdtool.core.recipe import ExportSettings, Recipe, StudentSettings, TeacherSettings, shipped_recipes
from kdtool.core.recipe import load_recipe as load
from kdtool.core.run import RunFolder
from kdtool.core.screen import QUIET
from kdtool.data.reader import Prepared
from kdtool.export.stage import export_models
from kdtool.train import answering, fit, shards, softlabels
from kdtool.train.batch import plain_task
from kdtool.train.check import check_student, check_teacher
from kdtool.train.evaluate import evaluate, predict
from kdtool.train.features import FeatureDistillation, OnlineTeacher
from kdtool.train.objective import CrossEntropy
from kdtool.train.stage import training_task
from kdtool.train.student import distill, train_baseline
from kdtool.train.teacher import open_teacher, teach
from screens import Recorder

CNN, VIT = "timm/test_resnet", "timm/test_vit"
CPU = torch.device("cpu")
AUGMENT = {"crop": 0.5, "flip": True, "randaugment": 1, "mixup": 0.4, "cutmix": 1.0}


def student(**fields: Any) -> StudentSettings:
    given = {"arch": CNN, "epochs": 2, "patience": 0, "lr": 1e-2, "batch_size": 16, **fields}
    return StudentSettings.model_validate(given)


def features(name: str, **fields: Any) -> dict[str, Any]:
    return {"loss": {"weight": 0.0, "ce_weight": 1.0}, "features": {"name": name, **fields}}


@pytest.fixture
def run(tmp_path: Path, prepared: Prepared) -> RunFolder:
    """A run with a CNN for a teacher."""
    folder = RunFolder(tmp_path / "run")
    teach(
        folder,
        prepared,
        TeacherSettings(arch=CNN, weights="none", epochs=2, lr=1e-2, batch_size=16),
        0,
        QUIET,
    )
    return folder


@pytest.fixture
def transformer(tmp_path: Path, prepared: Prepared) -> RunFolder:
    """A run with a transformer for a teacher."""
    folder = RunFolder(tmp_path / "transformer")
    teach(
        folder,
        prepared,
        TeacherSettings(arch=VIT, weights="none", epochs=1, lr=1e-3, batch_size=16),
        0,
        QUIET,
    )
    return folder


def test_stored_answers_are_the_teachers_to_the_very_pixels(run: RunFolder, prepared: Prepared) -> None:
    """Each view: what is looked up is what the teacher says of the pixels of the batch, mixed or not."""
    teacher = open_teacher(run, prepared)
    task = training_task(prepared, student(epochs=4, augment=AUGMENT, views=2), seed=5)
    soft = softlabels.label(teacher, prepared, task, run.soft_labels, QUIET)
    assert soft.logits["train"].shape == (24, 2, 3)
    online = OnlineTeacher(teacher.network, teacher.info.preprocess)
    for epoch in (0, 1, 3):
        batch = task.batch(np.array([3, 17, 8]), epoch, CPU)
        assert batch.view == epoch % 2
        torch.testing.assert_close(soft.answers("train")(batch), online(batch), atol=0, rtol=0)


def test_a_teacher_sees_the_pixels_as_it_was_trained_to(run: RunFolder, prepared: Prepared) -> None:
    """A teacher from elsewhere has a mean and std of its own, stored or working along."""
    network, info = load_network(run.weights("teacher"))
    other = dataclasses.replace(info.preprocess, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    brought = RunFolder(run.path.parent / "brought")
    save_network(
        brought.weights("teacher"), network.state_dict(), dataclasses.replace(info, preprocess=other)
    )
    teacher = open_teacher(brought, prepared)
    task = training_task(prepared, student(augment=AUGMENT), seed=0)
    batch = task.batch(np.arange(6), 1, CPU)
    with torch.no_grad():
        expected = network.eval()(torch.from_numpy(other.normalize(batch.pixels)))
    soft = softlabels.label(teacher, prepared, task, brought.soft_labels, QUIET)
    torch.testing.assert_close(soft.answers("train")(batch), expected, atol=1e-4, rtol=1e-4)
    online = OnlineTeacher(teacher.network, teacher.info.preprocess)
    torch.testing.assert_close(online(batch), expected, atol=1e-4, rtol=1e-4)


def test_an_interrupted_labelling_goes_on_view_by_view(
    run: RunFolder, prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = open_teacher(run, prepared)
    asked = []

    def label(views: int, stop_after: int = 99) -> softlabels.SoftLabels:
        def counted(*arguments: Any, **options: Any) -> Any:
            if len(asked) == stop_after:
                raise KeyboardInterrupt
            asked.append(options)
            return predict(*arguments, **options)

        asked.clear()
        monkeypatch.setattr(softlabels, "predict", counted)
        task = training_task(prepared, student(epochs=9, augment=AUGMENT, views=views), seed=0)
        return softlabels.label(teacher, prepared, task, run.soft_labels, QUIET)

    with pytest.raises(KeyboardInterrupt):
        label(4, stop_after=3)
    assert read_manifest(run.soft_labels / "manifest.json") is None
    parts = sorted(run.soft_labels.glob("train-*.npy"))
    parts[0].write_bytes(parts[0].read_bytes()[:-1])  # torn: answered anew, by its checksum
    interrupted = label(4)
    assert len(asked) == 3, "one that was torn, two that were missing"
    again = label(4)
    assert asked == []
    np.testing.assert_array_equal(again.logits["train"], interrupted.logits["train"])
    more = label(6)
    assert len(asked) == 2, "more views: the ones that are there stand"
    assert len(list(run.soft_labels.glob("train-*.npy"))) == 6
    np.testing.assert_array_equal(more.logits["train"][:, :4], interrupted.logits["train"])
    fewer = label(4)
    assert asked == [], "fewer views: the first of them"
    np.testing.assert_array_equal(fewer.logits["train"], more.logits["train"][:, :4])


def test_a_labelling_that_is_stopped_keeps_every_shard(
    run: RunFolder, prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher, task = open_teacher(run, prepared), training_task(prepared, student(), seed=0)
    whole = softlabels.label(teacher, prepared, task, run.path / "whole", QUIET)
    monkeypatch.setattr(shards, "IMAGES", 5)
    asked = []

    def stopping(*arguments: Any, **options: Any) -> Any:
        asked.append(arguments)
        if len(asked) == 4:
            signal.raise_signal(signal.SIGTERM)  # in the middle of the fourth
        return predict(*arguments, **options)

    monkeypatch.setattr(softlabels, "predict", stopping)
    with pytest.raises(Interrupted, match=r"stopped after 3 of \d+ parts; they are saved") as stopped:
        softlabels.label(teacher, prepared, task, run.soft_labels, QUIET)
    assert stopped.value.exit_code == 143
    assert len(list(run.soft_labels.glob("*.npy"))) == 3
    soft = softlabels.label(teacher, prepared, task, run.soft_labels, QUIET)
    parts = sum(len(range(0, prepared.counts[split], 5)) for split in softlabels.SPLITS)
    assert len(asked) == parts + 1 > 7, "each is asked for once, but for the one that was stopped"
    for split in softlabels.SPLITS:
        np.testing.assert_allclose(soft.logits[split], whole.logits[split], atol=1e-5)
        rows = np.array([5, 0, 4, 3, 1])
        batch = task.batch(rows, 0, torch.device("cpu"))
        np.testing.assert_array_equal(soft.answers(split)(batch).numpy(), soft.logits[split][rows, 0])


def test_views_keep_their_order_beyond_ten_thousand(
    run: RunFolder, prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their numbers then have five digits, and names sort otherwise."""

    def numbered(network: Any, task: Any, device: Any, epoch: int, images: range, stop: Any) -> Any:
        return np.full((len(images), 3), epoch, np.float32)

    monkeypatch.setattr(softlabels, "predict", numbered)
    monkeypatch.setattr(softlabels, "range", lambda views: [*range(9_998, 9_998 + views)], raising=False)
    task = training_task(prepared, student(epochs=4, augment=AUGMENT), seed=0)
    soft = softlabels.label(open_teacher(run, prepared), prepared, task, run.soft_labels, QUIET)
    assert soft.logits["train"][0, :, 0].tolist() == [9_998, 9_999, 10_000, 10_001]


def test_no_more_views_are_answered_than_are_seen(prepared: Prepared) -> None:
    assert training_task(prepared, student(epochs=2, augment=AUGMENT, views=100), 0).views == 2
    assert training_task(prepared, student(epochs=9, augment=AUGMENT, views=4), 0).views == 4
    assert training_task(prepared, student(epochs=9, augment=AUGMENT), 0).views == 9
    assert training_task(prepared, student(epochs=99, augment=AUGMENT), 0).views == 16
    assert training_task(prepared, student(epochs=99), 0).views == 1
    along = student(epochs=99, augment=AUGMENT, features={"name": "reviewkd"})
    assert training_task(prepared, along, 0).views == 99, "features are asked for in each epoch"


@pytest.mark.parametrize("extra", [{}, {"mixup": 0.2, "crop": 0.5}])
def test_a_student_is_the_same_with_answers_stored_or_asked(
    run: RunFolder, prepared: Prepared, tmp_path: Path, extra: dict[str, Any]
) -> None:
    """Batches of 12 images while training, blocks of 64 and a rest of 24 while storing."""
    settings = student(epochs=2, batch_size=12, augment={**AUGMENT, **extra})
    screen = Recorder()
    distill(run, prepared, settings, 0, screen, tmp_path / "asked")
    assert any(
        "the teacher answers in each step, since each view is seen once" in line for line in screen.lines
    )
    assert not run.soft_labels.exists()
    distill(run, prepared, settings, 0, QUIET, tmp_path / "stored", tmp_path / "answers")
    assert list((tmp_path / "answers").glob("train-*.npy"))
    asked, stored = (sha256_file(tmp_path / name / "model.safetensors") for name in ("asked", "stored"))
    assert asked == stored
    shutil.rmtree(tmp_path / "answers")
    distill(run, prepared, settings, 0, screen, tmp_path / "asked", tmp_path / "answers")
    assert screen.said[-1].startswith("student: complete, skipped"), "it is the same student"
    assert not (tmp_path / "answers").exists(), "nobody learns from them"


def test_answers_that_stand_are_taken_though_asking_would_cost_less(
    run: RunFolder, prepared: Prepared, tmp_path: Path
) -> None:
    settings, screen = student(epochs=2, augment=AUGMENT), Recorder()
    task = training_task(prepared, settings, 0)
    softlabels.label(open_teacher(run, prepared), prepared, task, run.soft_labels, QUIET)
    distill(run, prepared, settings, 0, screen, tmp_path / "student")
    assert "label: complete, skipped." in screen.said


def test_what_storing_costs_is_measured(
    run: RunFolder, prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering, "seconds_per_image", lambda *_, **__: 0.001)
    settings = student(epochs=4, augment=AUGMENT, views=2)
    for view, stored in ((0.0009, True), (0.0011, False)):
        monkeypatch.setattr(answering, "seconds_per_view", lambda *_, view=view: view)
        screen, folder = Recorder(), tmp_path / str(view)
        distill(RunFolder(shutil.copytree(run.path, folder)), prepared, settings, 0, screen)
        assert RunFolder(folder).soft_labels.exists() == stored
        said = (
            "1.0 ms an image: storing 2 views, 1.1 ms each to make, would cost more than asking for 4 epochs"
        )
        assert any(said in line for line in screen.lines) != stored


@pytest.mark.parametrize("views", [0, 2])
def test_an_augmented_student_is_extended_to_what_it_would_have_been(
    run: RunFolder, prepared: Prepared, tmp_path: Path, views: int
) -> None:
    short, long = (student(epochs=epochs, augment=AUGMENT, views=views) for epochs in (2, 4))
    screen = Recorder()
    distill(run, prepared, short, 0, QUIET, tmp_path / "grown", tmp_path / "answers")
    distill(run, prepared, long, 0, screen, tmp_path / "grown", tmp_path / "answers")
    assert any("resuming in epoch 3" in line for line in screen.lines)
    distill(run, prepared, long, 0, QUIET, tmp_path / "fresh", tmp_path / "others")
    grown, fresh = (sha256_file(tmp_path / name / "model.safetensors") for name in ("grown", "fresh"))
    assert grown == fresh


def test_a_teacher_worse_than_its_student_is_said(run: RunFolder, prepared: Prepared) -> None:
    manifest = json.loads((run.role("teacher") / "manifest.json").read_text())
    manifest["result"]["validation_accuracy"] = 0.01
    (run.role("teacher") / "manifest.json").write_text(json.dumps(manifest))
    screen = Recorder()
    distill(run, prepared, student(epochs=1), 0, screen)
    assert any("warning: The teacher is" in line for line in screen.lines)


def test_a_loss_on_features_is_weighed_and_warms_up(run: RunFolder, prepared: Prepared) -> None:
    def loss(weight: float, warmup_epochs: int, epoch: int) -> float:
        torch.manual_seed(0)
        network, info = load_network(run.weights("teacher"))
        pupil, _ = load_network(run.weights("teacher"))
        settings = student(**features("fitnet", weight=weight, warmup_epochs=warmup_epochs)).features
        hint = FeatureDistillation(settings, pupil, OnlineTeacher(network, info.preprocess), 32).eval()
        batch = plain_task(prepared, "train").batch(np.arange(8), epoch, CPU)
        return hint(pupil(batch.images), batch).item()

    raw = loss(1.0, 0, 0)
    assert raw > 0
    assert loss(100.0, 4, 0) == pytest.approx(25 * raw, rel=1e-5)
    assert loss(100.0, 4, 3) == pytest.approx(100 * raw, rel=1e-5)


def test_the_average_is_timms_over_all_steps(prepared: Prepared, tmp_path: Path) -> None:
    """By hand, from the weights after each step: decay min(0.9, 1 − (1 + n)^(−2/3)), n from all epochs."""
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


@pytest.mark.parametrize("augment", [AUGMENT, {}])
def test_another_version_of_torch_answers_anew(
    run: RunFolder, prepared: Prepared, monkeypatch: pytest.MonkeyPatch, augment: dict[str, Any]
) -> None:
    task = training_task(prepared, student(augment=augment), 0)
    softlabels.label(open_teacher(run, prepared), prepared, task, run.soft_labels, QUIET)
    monkeypatch.setattr(softlabels, "versions_of", lambda names=(): dict.fromkeys(names, "another"))
    screen = Recorder()
    softlabels.label(open_teacher(run, prepared), prepared, task, run.soft_labels, screen)
    assert "the teacher's answers to" in screen.said[-1]


@pytest.mark.parametrize("change", [{"crop": 0.4}, {"seed": 1}, {"views": 1}, {"teacher": True}])
def test_nothing_stale_is_reused(run: RunFolder, prepared: Prepared, change: dict[str, Any]) -> None:
    def answers(seed: int = 0, views: int = 2, **augment: Any) -> bytes:
        task = training_task(prepared, student(augment={**AUGMENT, **augment}, views=views), seed)
        teacher = open_teacher(run, prepared)
        return softlabels.label(teacher, prepared, task, run.soft_labels, QUIET).logits["train"].tobytes()

    before = answers()
    if change.pop("teacher", False):
        other = TeacherSettings(arch=CNN, weights="none", epochs=1, lr=1e-3, batch_size=16)
        teach(run, prepared, other, 1, QUIET)
    assert answers(**change) != before


@pytest.mark.parametrize("name", ["fitnet", "attention_transfer", "reviewkd"])
def test_features_of_a_cnn_change_the_student_and_never_reach_it(
    run: RunFolder, prepared: Prepared, name: str, tmp_path: Path
) -> None:
    settings = student(**features(name))
    before = sha256_file(run.weights("teacher"))
    distill(run, prepared, settings, 0, QUIET)
    train_baseline(run.role("baseline"), prepared, settings, 0, QUIET)
    taught, alone = load_file(run.weights("student")), load_file(run.weights("baseline"))
    assert taught.keys() == alone.keys(), "helper layers stay behind"
    assert any(not torch.equal(taught[key], alone[key]) for key in taught)
    assert sha256_file(run.weights("teacher")) == before
    assert not run.soft_labels.exists(), "the teacher works along; nothing is stored"
    parents = read_manifest(run.role("student") / "manifest.json").inputs
    assert parents["teacher"] == before
    assert parents["features"]["name"] == name


def test_a_transformer_learns_from_the_features_of_a_transformer(
    transformer: RunFolder, prepared: Prepared
) -> None:
    settings = student(arch=VIT, lr=1e-3, augment=AUGMENT, **features("vitkd", alpha=1e-3, beta=1e-3))
    distill(transformer, prepared, settings, 0, QUIET)
    network, _ = load_network(transformer.weights("student"))
    assert network(torch.zeros(1, 3, 32, 32)).shape == (1, 3)


def test_the_helpers_learn_and_the_teacher_does_not(run: RunFolder, prepared: Prepared) -> None:
    teacher, info = load_network(run.weights("teacher"))
    pupil, _ = load_network(run.weights("teacher"))
    online = OnlineTeacher(teacher, info.preprocess)
    hint = FeatureDistillation(student(**features("fitnet")).features, pupil, online, 32)
    batch = plain_task(prepared, "train").batch(np.arange(8), 0, CPU)
    loss = hint(pupil.train()(batch.images), batch)
    loss.backward()
    assert loss > 0
    assert all(parameter.grad is not None for parameter in hint.parameters())
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert {id(one) for one in hint.parameters()}.isdisjoint(id(one) for one in teacher.parameters())
    assert not teacher.training


def test_a_distillation_token_learns_from_the_teacher_and_is_exported_as_a_mean(
    run: RunFolder, prepared: Prepared
) -> None:
    settings = student(
        arch="timm/deit_tiny_distilled_patch16_224",
        lr=1e-3,
        augment=AUGMENT,
        loss={"name": "deit_hard", "weight": 0.5, "ce_weight": 0.5},
    )
    distill(run, prepared, settings, 0, QUIET)
    network, _ = load_network(run.weights("student"))
    images = torch.randn(2, 3, 32, 32)
    features_of = network.forward_features(images)
    mean = (network.head(features_of[:, 0]) + network.head_dist(features_of[:, 1])) / 2
    torch.testing.assert_close(network(images), mean)
    heads = load_file(run.weights("student"))
    assert not torch.equal(heads["head.weight"], heads["head_dist.weight"])
    export_models(run, prepared, ExportSettings(), QUIET)  # parity with torch is its gate
    session = onnxruntime.InferenceSession(run.onnx_model("student"))
    (exported,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    torch.testing.assert_close(torch.from_numpy(exported), mean.detach(), atol=1e-4, rtol=1e-4)


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
    """Averages, helper layers and moments too: the weights are those of an uninterrupted run."""
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
    result = evaluate(network, plain_task(prepared, "validation"), CrossEntropy(), CPU)
    assert result.accuracy == read_manifest(tmp_path / "manifest.json").result["validation_accuracy"]


def test_a_falling_learning_rate_is_not_extended_but_trained_anew(prepared: Prepared, tmp_path: Path) -> None:
    short, long = student(schedule="cosine"), student(schedule="cosine", epochs=3)
    screen = Recorder()
    train_baseline(tmp_path / "grown", prepared, short, 0, QUIET)
    train_baseline(tmp_path / "grown", prepared, long, 0, screen)
    assert any("baseline: trained anew" in line for line in screen.lines)
    train_baseline(tmp_path / "fresh", prepared, long, 0, QUIET)
    grown, fresh = (sha256_file(tmp_path / name / "model.safetensors") for name in ("grown", "fresh"))
    assert grown == fresh


def test_patience_before_the_learning_rate_has_fallen_is_said(prepared: Prepared, tmp_path: Path) -> None:
    screen = Recorder()
    train_baseline(tmp_path, prepared, student(schedule="cosine", patience=1), 0, screen)
    assert any("warning:" in line and "student.patience" in line for line in screen.lines)


def test_seeds_may_share_the_views(run: RunFolder, prepared: Prepared, tmp_path: Path) -> None:
    settings, places = student(augment=AUGMENT), (tmp_path / "answers",) * 2
    seen = []
    for seed, place in enumerate(places):
        distill(run, prepared, settings, seed, QUIET, tmp_path / str(seed), place, views_seed=7)
        seen.append(sorted(path.name for path in place.iterdir()))
    assert seen[0] == seen[1]
    assert read_manifest(places[0] / "manifest.json").inputs["seed"] == 7


@pytest.mark.parametrize(
    "fields, message",
    [
        (features("vitkd"), "the student is no vision transformer"),
        (features("reviewkd") | {"arch": VIT}, "the student is a vision transformer"),
        (features("fitnet", student_stages=["nowhere"], teacher_stages=["layer2"]), "no stage is called"),
        (features("fitnet", student_stages=["layer2"]), "student_stages"),
        (features("hints"), "student.features.name is 'hints'; allowed: fitnet"),
        ({"loss": {"name": "fitnet"}}, "student.loss.name is 'fitnet'"),
        ({"features": {"nmae": "fitnet"}}, "student.features.nmae is 'fitnet', but .* allowed: with a name"),
        (features("", student_stages=["layer2"]), r"features.student_stages is \('layer2',\), but"),
        ({"features": {"weight": 100.0}}, "student.features.weight is 100.0, but student.features.name is"),
        ({"features": {"warmup_epochs": 1}}, "student.features.warmup_epochs is 1, but"),
        (features("fitnet", weight=0.0), "student.features.weight is 0, so fitnet .* allowed: above 0"),
        (features(""), r"nothing is learnt from the teacher; .*\n.*loss.weight=0.5; .* by --baseline"),
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
    """With the tiniest network of the kind it names, an epoch each."""
    recipe = load(name)
    networks = {
        section: getattr(recipe, section).model_copy(
            update={"arch": VIT if "deit" in getattr(recipe, section).arch else CNN, "weights": "none"}
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
