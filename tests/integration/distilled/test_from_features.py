"""Students that learn from features or with a distillation token, trained with tiny networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file

from fixtures.students import AUGMENT, CPU, VIT, features, student
from kdtool.arch.network import load_network
from kdtool.core.files import sha256_file
from kdtool.core.screen import QUIET
from kdtool.data.reader import Prepared
from kdtool.exporters.stage import export_models
from kdtool.recipe.settings import ExportSettings
from kdtool.runs.folder import RunFolder
from kdtool.runs.stage import read_manifest
from kdtool.train.student import distill, feature_distillation, train_baseline
from kdtool.train.teaching.features import OnlineTeacher
from kdtool.train.views.batch import plain_examples


def test_a_loss_on_features_is_weighed_and_warms_up(run: RunFolder, prepared: Prepared) -> None:
    def loss(weight: float, warmup_epochs: int, epoch: int) -> float:
        torch.manual_seed(0)
        network, info = load_network(run.weights("teacher"))
        pupil, _ = load_network(run.weights("teacher"))
        settings = student(**features("fitnet", weight=weight, warmup_epochs=warmup_epochs)).features
        hint = feature_distillation(settings, pupil, OnlineTeacher(network, info.preprocess), 32).eval()
        batch = plain_examples(prepared, "train").batch(np.arange(8), epoch, CPU)
        return hint(pupil(batch.images), batch).item()

    raw = loss(1.0, 0, 0)
    assert raw > 0
    assert loss(100.0, 4, 0) == pytest.approx(25 * raw, rel=1e-5)
    assert loss(100.0, 4, 3) == pytest.approx(100 * raw, rel=1e-5)


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
    hint = feature_distillation(student(**features("fitnet")).features, pupil, online, 32)
    batch = plain_examples(prepared, "train").batch(np.arange(8), 0, CPU)
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
