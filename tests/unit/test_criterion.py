"""Criteria, optimizers and schedules, checked with numbers computed by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from kdtool.arch.network import build, two_heads
from kdtool.losses import deit_hard_loss, kd_loss
from kdtool.recipe.settings import StudentSettings
from kdtool.train.loop.criterion import CrossEntropy, Distillation, combined, warm
from kdtool.train.loop.optimizer import OPTIMIZERS, SCHEDULES, Optimization, build_optimizer
from kdtool.train.views.batch import Batch


def a_batch(epoch: int = 0, distribution: torch.Tensor | None = None) -> Batch:
    return Batch(
        indices=np.arange(4),
        epoch=epoch,
        images=torch.zeros(4, 3, 2, 2),
        target=torch.tensor([0, 1, 2, 1]),
        distribution=distribution,
    )


LOGITS = torch.arange(12.0).reshape(4, 3).sin()
TEACHER = torch.arange(12.0).reshape(4, 3).cos()


def test_cross_entropy_of_a_mixed_picture_is_the_mix_of_two() -> None:
    first, second = torch.tensor([0, 1, 2, 1]), torch.tensor([2, 2, 0, 1])
    share = torch.tensor([0.3, 0.1, 0.5, 0.2])
    mix = F.one_hot(first, 3) * (1 - share)[:, None] + F.one_hot(second, 3) * share[:, None]
    loss = CrossEntropy()(LOGITS, a_batch(distribution=mix))
    by_hand = (
        (1 - share) * F.cross_entropy(LOGITS, first, reduction="none")
        + share * F.cross_entropy(LOGITS, second, reduction="none")
    ).mean()
    torch.testing.assert_close(loss, by_hand)


def test_warm_up_is_never_silent_and_never_divides_by_zero() -> None:
    assert [warm(epoch, 4) for epoch in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    assert warm(0, 0) == 1.0


@pytest.mark.parametrize("epoch, factor", [(0, 0.25), (1, 0.5), (3, 1.0), (9, 1.0)])
def test_warm_up_weighs_the_teacher_alone(epoch: int, factor: float) -> None:
    weights = {"weight": 2.0, "ce_weight": 0.5, "warmup_epochs": 4}
    criterion = Distillation(kd_loss, lambda _: TEACHER, **weights, label_smoothing=0.1)
    batch = a_batch(epoch)
    hard = F.cross_entropy(LOGITS, batch.target, label_smoothing=0.1)
    expected = 0.5 * hard + 2.0 * factor * kd_loss(LOGITS, TEACHER, batch.target)
    torch.testing.assert_close(criterion(LOGITS, batch), expected)


def test_each_head_has_its_own_teacher() -> None:
    """DeiT: the class head learns from the labels, the distillation head from the teacher's decision."""
    criterion = Distillation(deit_hard_loss, lambda _: TEACHER, weight=0.5, ce_weight=0.5)
    heads = LOGITS.clone().requires_grad_(), (-LOGITS).clone().requires_grad_()
    batch = a_batch()
    loss = criterion(heads, batch)
    expected = 0.5 * F.cross_entropy(LOGITS, batch.target) + 0.5 * F.cross_entropy(-LOGITS, TEACHER.argmax(1))
    torch.testing.assert_close(loss.detach(), expected)
    torch.testing.assert_close(combined(heads), torch.zeros(4, 3))
    alone = torch.autograd.grad(0.5 * F.cross_entropy(heads[0], batch.target), heads[0])[0]
    torch.testing.assert_close(torch.autograd.grad(loss, heads[0])[0], alone)


def test_without_weight_the_teacher_is_not_asked() -> None:
    def never(_: Batch) -> torch.Tensor:
        raise AssertionError("asked")

    loss = Distillation(kd_loss, never, weight=0.0, ce_weight=1.0)(LOGITS, a_batch())
    torch.testing.assert_close(loss, F.cross_entropy(LOGITS, a_batch().target))


def test_a_distillation_token_has_a_head_of_its_own_in_training_alone() -> None:
    network = build("timm/deit_tiny_distilled_patch16_224", 5, 32)
    images = torch.randn(2, 3, 32, 32)
    assert isinstance(network.train()(images), torch.Tensor), "until it is asked for, the mean"
    assert two_heads(network)
    class_head, distillation_head = network(images)
    assert class_head.shape == distillation_head.shape == (2, 5)
    assert not torch.equal(class_head, distillation_head)
    torch.testing.assert_close(network.eval()(images), combined((class_head, distillation_head)))
    assert not two_heads(build("timm/test_resnet", 5, 32))


def test_the_learning_rate_is_constant_to_the_bit_by_default() -> None:
    assert {Optimization(10, lr=1e-3).learning_rate(epochs / 7) for epochs in range(70)} == {1e-3}


def test_the_cosine_rises_and_falls() -> None:
    cosine = Optimization(10, lr=0.2, schedule="cosine", warmup_epochs=2)
    rates = [cosine.learning_rate(epochs / 10) for epochs in range(101)]
    assert rates[0] == 0
    assert rates[10] == pytest.approx(0.2 * 0.5 * (1 + math.cos(math.pi * 0.1)) / 2)
    assert rates[50] == pytest.approx(0.1)
    assert rates[100] == pytest.approx(0, abs=1e-12)
    assert all(later < earlier for earlier, later in itertools.pairwise(rates[25:]))


def test_the_tables_are_what_the_recipe_allows() -> None:
    fields = StudentSettings.model_fields
    assert set(OPTIMIZERS) == set(fields["optimizer"].annotation.__args__)
    assert set(SCHEDULES) == set(fields["schedule"].annotation.__args__)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_biases_and_norms_do_not_decay(name: str) -> None:
    """Without gradients only weight decay changes a weight."""
    module = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3))
    nn.init.ones_(module[0].bias)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    optimizer = build_optimizer(name, 0.2, 0.1, module)
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    moved = {key for key, value in module.state_dict().items() if not torch.equal(value, before[key])}
    assert moved == {"0.weight"}
