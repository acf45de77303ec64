"""The teacher's logits for the views of a student: stored or computed online, never stale."""

from __future__ import annotations

import dataclasses
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fixtures.screens import Recorder
from fixtures.students import AUGMENT, CNN, CPU, student
from kdtool.arch.network import load_network, save_network
from kdtool.core.errors import Interrupted
from kdtool.core.files import sha256_file
from kdtool.core.screen import QUIET
from kdtool.data.reader import Prepared
from kdtool.recipe.settings import TeacherSettings
from kdtool.runs.folder import RunFolder
from kdtool.runs.stage import read_manifest
from kdtool.train.loop.evaluate import predict
from kdtool.train.stage import training_examples
from kdtool.train.student import distill
from kdtool.train.teaching import shards, softlabels, source
from kdtool.train.teaching.features import OnlineTeacher
from kdtool.train.teaching.teacher import open_teacher, teach


def test_soft_labels_are_the_teachers_logits_for_the_same_pixels(run: RunFolder, prepared: Prepared) -> None:
    """In each view the stored logits equal the teacher's logits for the pixels of the batch, mixed or not."""
    teacher = open_teacher(run, prepared)
    task = training_examples(prepared, student(epochs=4, augment=AUGMENT, views=2), seed=5)
    soft = softlabels.store_soft_labels(teacher, prepared, task, run.soft_labels, QUIET)
    assert soft.logits["train"].shape == (24, 2, 3)
    online = OnlineTeacher(teacher.network, teacher.info.preprocess)
    for epoch in (0, 1, 3):
        batch = task.batch(np.array([3, 17, 8]), epoch, CPU)
        assert batch.view == epoch % 2
        torch.testing.assert_close(soft.of("train")(batch), online(batch), atol=0, rtol=0)


def test_a_teacher_sees_the_pixels_as_it_was_trained_to(run: RunFolder, prepared: Prepared) -> None:
    """A teacher from elsewhere uses its mean and std, both for stored soft labels and online."""
    network, info = load_network(run.weights("teacher"))
    other = dataclasses.replace(info.preprocess, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    brought = RunFolder(run.path.parent / "brought")
    save_network(
        brought.weights("teacher"), network.state_dict(), dataclasses.replace(info, preprocess=other)
    )
    teacher = open_teacher(brought, prepared)
    task = training_examples(prepared, student(augment=AUGMENT), seed=0)
    batch = task.batch(np.arange(6), 1, CPU)
    with torch.no_grad():
        expected = network.eval()(torch.from_numpy(other.normalize(batch.pixels.numpy())))
    soft = softlabels.store_soft_labels(teacher, prepared, task, brought.soft_labels, QUIET)
    torch.testing.assert_close(soft.of("train")(batch), expected, atol=1e-4, rtol=1e-4)
    online = OnlineTeacher(teacher.network, teacher.info.preprocess)
    torch.testing.assert_close(online(batch), expected, atol=1e-4, rtol=1e-4)


def test_interrupted_soft_labels_are_continued_view_by_view(
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
        task = training_examples(prepared, student(epochs=9, augment=AUGMENT, views=views), seed=0)
        return softlabels.store_soft_labels(teacher, prepared, task, run.soft_labels, QUIET)

    with pytest.raises(KeyboardInterrupt):
        label(4, stop_after=3)
    assert read_manifest(run.soft_labels / "manifest.json") is None
    parts = sorted(run.soft_labels.glob("train-*.npy"))
    parts[0].write_bytes(parts[0].read_bytes()[:-1])  # damaged: the checksum shows it
    interrupted = label(4)
    assert len(asked) == 3, "one damaged file, two missing files"
    again = label(4)
    assert asked == []
    np.testing.assert_array_equal(again.logits["train"], interrupted.logits["train"])
    more = label(6)
    assert len(asked) == 2, "more views: the existing ones are used"
    assert len(list(run.soft_labels.glob("train-*.npy"))) == 6
    np.testing.assert_array_equal(more.logits["train"][:, :4], interrupted.logits["train"])
    fewer = label(4)
    assert asked == [], "fewer views: the first ones are used"
    np.testing.assert_array_equal(fewer.logits["train"], more.logits["train"][:, :4])


def test_a_stop_keeps_every_finished_shard(
    run: RunFolder, prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher, task = open_teacher(run, prepared), training_examples(prepared, student(), seed=0)
    whole = softlabels.store_soft_labels(teacher, prepared, task, run.path / "whole", QUIET)
    monkeypatch.setattr(shards, "IMAGES", 5)
    asked = []

    def stopping(*arguments: Any, **options: Any) -> Any:
        asked.append(arguments)
        if len(asked) == 4:
            signal.raise_signal(signal.SIGTERM)  # during the fourth shard
        return predict(*arguments, **options)

    monkeypatch.setattr(softlabels, "predict", stopping)
    with pytest.raises(Interrupted, match=r"stopped after 3 of \d+ parts; they are saved") as stopped:
        softlabels.store_soft_labels(teacher, prepared, task, run.soft_labels, QUIET)
    assert stopped.value.exit_code == 143
    assert len(list(run.soft_labels.glob("*.npy"))) == 3
    soft = softlabels.store_soft_labels(teacher, prepared, task, run.soft_labels, QUIET)
    parts = sum(len(range(0, prepared.counts[split], 5)) for split in softlabels.SPLITS)
    assert len(asked) == parts + 1 > 7, "each shard is computed once, only the stopped one twice"
    for split in softlabels.SPLITS:
        np.testing.assert_allclose(soft.logits[split], whole.logits[split], atol=1e-5)
        rows = np.array([5, 0, 4, 3, 1])
        batch = task.batch(rows, 0, torch.device("cpu"))
        np.testing.assert_array_equal(soft.of(split)(batch).numpy(), soft.logits[split][rows, 0])


def test_views_keep_their_order_beyond_ten_thousand(
    run: RunFolder, prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of such a view has five digits, which changes the order of the names."""

    def numbered(network: Any, examples: Any, device: Any, epoch: int, images: range, stop: Any) -> Any:
        return np.full((len(images), 3), epoch, np.float32)

    monkeypatch.setattr(softlabels, "predict", numbered)
    monkeypatch.setattr(softlabels, "range", lambda views: [*range(9_998, 9_998 + views)], raising=False)
    task = training_examples(prepared, student(epochs=4, augment=AUGMENT), seed=0)
    soft = softlabels.store_soft_labels(open_teacher(run, prepared), prepared, task, run.soft_labels, QUIET)
    assert soft.logits["train"][0, :, 0].tolist() == [9_998, 9_999, 10_000, 10_001]


def test_no_more_views_are_stored_than_the_student_sees(prepared: Prepared) -> None:
    assert training_examples(prepared, student(epochs=2, augment=AUGMENT, views=100), 0).views == 2
    assert training_examples(prepared, student(epochs=9, augment=AUGMENT, views=4), 0).views == 4
    assert training_examples(prepared, student(epochs=9, augment=AUGMENT), 0).views == 9
    assert training_examples(prepared, student(epochs=99, augment=AUGMENT), 0).views == 16
    assert training_examples(prepared, student(epochs=99), 0).views == 1
    along = student(epochs=99, augment=AUGMENT, features={"name": "reviewkd"})
    assert training_examples(prepared, along, 0).views == 99, "features are computed in each epoch"


@pytest.mark.parametrize("extra", [{}, {"mixup": 0.2, "crop": 0.5}])
def test_a_student_is_the_same_with_logits_stored_or_online(
    run: RunFolder, prepared: Prepared, tmp_path: Path, extra: dict[str, Any]
) -> None:
    """Training has batches of 12 images; soft labels are computed in batches of 64 and 24."""
    settings = student(epochs=2, batch_size=12, augment={**AUGMENT, **extra})
    screen = Recorder()
    distill(run, prepared, settings, 0, screen, tmp_path / "online")
    assert any(
        "the teacher computes its logits in each step, since each view is seen once" in line
        for line in screen.lines
    )
    assert not run.soft_labels.exists()
    distill(run, prepared, settings, 0, QUIET, tmp_path / "stored", tmp_path / "softlabels")
    assert list((tmp_path / "softlabels").glob("train-*.npy"))
    online, stored = (sha256_file(tmp_path / name / "model.safetensors") for name in ("online", "stored"))
    assert online == stored
    shutil.rmtree(tmp_path / "softlabels")
    distill(run, prepared, settings, 0, screen, tmp_path / "online", tmp_path / "softlabels")
    assert screen.said[-1].startswith("student: complete, skipped"), "it is the same student"
    assert not (tmp_path / "softlabels").exists(), "no student needs them"


def test_stored_soft_labels_are_used_even_if_online_would_cost_less(
    run: RunFolder, prepared: Prepared, tmp_path: Path
) -> None:
    settings, screen = student(epochs=2, augment=AUGMENT), Recorder()
    task = training_examples(prepared, settings, 0)
    softlabels.store_soft_labels(open_teacher(run, prepared), prepared, task, run.soft_labels, QUIET)
    distill(run, prepared, settings, 0, screen, tmp_path / "student")
    assert "label: complete, skipped." in screen.said


def test_the_cost_of_storing_is_measured(
    run: RunFolder, prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "seconds_per_image", lambda *_, **__: 0.001)
    settings = student(epochs=4, augment=AUGMENT, views=2)
    for view, stored in ((0.0009, True), (0.0011, False)):
        monkeypatch.setattr(source, "seconds_per_view", lambda *_, view=view: view)
        screen, folder = Recorder(), tmp_path / str(view)
        distill(RunFolder(shutil.copytree(run.path, folder)), prepared, settings, 0, screen)
        assert RunFolder(folder).soft_labels.exists() == stored
        said = (
            "since 4 epochs of it cost less than 2 stored views "
            "(1.0 ms per image for the teacher, 1.1 ms to make a view)"
        )
        assert any(said in line for line in screen.lines) != stored


@pytest.mark.parametrize("views", [0, 2])
def test_an_augmented_student_is_extended_to_what_it_would_have_been(
    run: RunFolder, prepared: Prepared, tmp_path: Path, views: int
) -> None:
    short, long = (student(epochs=epochs, augment=AUGMENT, views=views) for epochs in (2, 4))
    screen = Recorder()
    distill(run, prepared, short, 0, QUIET, tmp_path / "grown", tmp_path / "softlabels")
    distill(run, prepared, long, 0, screen, tmp_path / "grown", tmp_path / "softlabels")
    assert any("resuming in epoch 3" in line for line in screen.lines)
    distill(run, prepared, long, 0, QUIET, tmp_path / "fresh", tmp_path / "others")
    grown, fresh = (sha256_file(tmp_path / name / "model.safetensors") for name in ("grown", "fresh"))
    assert grown == fresh


@pytest.mark.parametrize("augment", [AUGMENT, {}])
def test_another_version_of_torch_computes_soft_labels_again(
    run: RunFolder, prepared: Prepared, monkeypatch: pytest.MonkeyPatch, augment: dict[str, Any]
) -> None:
    task = training_examples(prepared, student(augment=augment), 0)
    softlabels.store_soft_labels(open_teacher(run, prepared), prepared, task, run.soft_labels, QUIET)
    monkeypatch.setattr(softlabels, "versions_of", lambda names=(): dict.fromkeys(names, "another"))
    screen = Recorder()
    softlabels.store_soft_labels(open_teacher(run, prepared), prepared, task, run.soft_labels, screen)
    assert "soft labels of" in screen.said[-1]


@pytest.mark.parametrize("change", [{"crop": 0.4}, {"seed": 1}, {"views": 1}, {"teacher": True}])
def test_nothing_stale_is_reused(run: RunFolder, prepared: Prepared, change: dict[str, Any]) -> None:
    def stored(seed: int = 0, views: int = 2, **augment: Any) -> bytes:
        task = training_examples(prepared, student(augment={**AUGMENT, **augment}, views=views), seed)
        teacher = open_teacher(run, prepared)
        return (
            softlabels.store_soft_labels(teacher, prepared, task, run.soft_labels, QUIET)
            .logits["train"]
            .tobytes()
        )

    before = stored()
    if change.pop("teacher", False):
        other = TeacherSettings(arch=CNN, weights="none", epochs=1, lr=1e-3, batch_size=16)
        teach(run, prepared, other, 1, QUIET)
    assert stored(**change) != before


def test_seeds_may_share_the_views(run: RunFolder, prepared: Prepared, tmp_path: Path) -> None:
    settings, places = student(augment=AUGMENT), (tmp_path / "softlabels",) * 2
    seen = []
    for seed, place in enumerate(places):
        distill(run, prepared, settings, seed, QUIET, tmp_path / str(seed), place, views_seed=7)
        seen.append(sorted(path.name for path in place.iterdir()))
    assert seen[0] == seen[1]
    assert read_manifest(places[0] / "manifest.json").inputs["seed"] == 7
