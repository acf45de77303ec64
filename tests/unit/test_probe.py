"""Linear probe: the head of a frozen network, which training starts from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from kdtool.arch.network import build, classifier_of, normalization_of
from kdtool.train.loop.freezing import has_moving_statistics, train_only, training_mode
from kdtool.train.loop.statistics import LEAST_MOMENTUM, raise_momentum
from kdtool.train.probe import fit_probe


def _clouds(classes: int, images: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Features around a centre for each class, with scales and offsets of their own."""
    rng = np.random.default_rng(classes)
    labels = np.arange(images) % classes
    centres = rng.normal(size=(classes, 8))
    x = (centres[labels] + 0.3 * rng.normal(size=(images, 8))) * np.logspace(-2, 2, 8) + 5
    return x.astype(np.float32), labels


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_the_head_predicts_as_the_regression_on_standardized_features(classes: int) -> None:
    x, y = _clouds(classes)
    fit = fit_probe(x, y, x, y)
    standardized = (x - x.mean(0)) / x.std(0)
    reference = LogisticRegression(C=fit.c, max_iter=1000).fit(standardized, y)
    logits = x @ fit.weight.T + fit.bias
    assert logits.shape == (len(x), classes)
    np.testing.assert_array_equal(logits.argmax(1), reference.predict(standardized))
    assert fit.accuracies[fit.c] == max(fit.accuracies.values()) == (logits.argmax(1) == y).mean()


@pytest.mark.parametrize(
    ("arch", "name"),
    [
        ("resnet18", "fc"),
        ("mobilenet_v3_small", "classifier.3"),
        ("timm/tf_efficientnet_lite0", "classifier"),
    ],
)
def test_the_head_is_found(arch: str, name: str) -> None:
    assert classifier_of(build(arch, 3, 32), arch, 3, 32) == name


def test_a_head_that_is_no_linear_layer_has_no_probe() -> None:
    assert classifier_of(build("squeezenet1_1", 3, 64), "squeezenet1_1", 3, 64) is None


def test_weights_bring_their_own_normalization() -> None:
    assert normalization_of("resnet18", "none") is None
    assert normalization_of("resnet18", "imagenet") == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert normalization_of("timm/tf_efficientnet_lite0", "any.pth") == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def test_frozen_parts_stay_in_evaluation_mode() -> None:
    network = build("resnet18", 3, 32)
    training_mode(network, freeze_norm=True)
    assert not network.bn1.training
    assert network.conv1.training
    assert not has_moving_statistics(network, freeze_norm=True)
    assert has_moving_statistics(network, freeze_norm=False)
    train_only(network, "fc")
    training_mode(network, freeze_norm=False)
    assert not network.layer1.training
    assert network.fc.training
    assert [name for name, value in network.named_parameters() if value.requires_grad] == [
        "fc.weight",
        "fc.bias",
    ]
    assert not has_moving_statistics(network, freeze_norm=False)


@pytest.mark.parametrize("arch", ["mobilenet_v3_small", "mnasnet0_5"])
def test_statistics_move_in_a_short_training(arch: str) -> None:
    network = build(arch, 3, 32)
    raise_momentum(network)
    momenta = {module.momentum for module in network.modules() if isinstance(module, nn.BatchNorm2d)}
    assert momenta == {LEAST_MOMENTUM}
    torch.manual_seed(0)
    network.train()
    with torch.no_grad():
        for _ in range(44):
            network(torch.randn(4, 3, 32, 32) + 3)
    first = next(module for module in network.modules() if isinstance(module, nn.BatchNorm2d))
    fresh = next(module for module in build(arch, 3, 32).modules() if isinstance(module, nn.BatchNorm2d))
    assert not torch.allclose(first.running_mean, fresh.running_mean, atol=1e-2)
