"""Remedies for classes of unequal size: balanced sampling and logit adjustment."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from kdtool.train.loop.criterion import CrossEntropy, Distillation
from kdtool.train.views.augment import View, target_distribution
from kdtool.train.views.batch import Batch
from kdtool.train.views.order import balanced, batches


@given(st.lists(st.integers(1, 30), min_size=2, max_size=6), st.integers(0, 50), st.integers(0, 5))
def test_every_class_is_drawn_alike(counts: list[int], epoch: int, unlabelled: int) -> None:
    labels = np.concatenate([np.repeat(np.arange(len(counts)), counts), np.full(unlabelled, -1)])
    chosen = balanced(labels, 3, epoch)
    share = max(1, round(sum(counts) / len(counts)))
    assert Counter(labels[chosen].tolist()) == Counter(
        dict.fromkeys(range(len(counts)), share) | ({-1: unlabelled} if unlabelled else {})
    )
    assert (balanced(labels, 3, epoch) == chosen).all()


def test_no_image_of_a_class_comes_twice_before_all_came_once() -> None:
    labels = np.repeat([0, 1], [40, 8])
    seen = np.concatenate([balanced(labels, 0, epoch) for epoch in range(5)])
    large = seen[labels[seen] == 0]
    assert len(large) == 5 * 24
    for start in range(0, len(large), 40):
        assert len(set(large[start : start + 40].tolist())) == len(large[start : start + 40])


def test_batches_of_chosen_images_hold_each_of_them() -> None:
    chosen = np.array([5, 5, 9, 2, 7])
    parts = batches(100, 2, 0, 0, chosen)
    assert sorted(np.concatenate(parts).tolist()) == [2, 5, 5, 7, 9]


def batch(target: list[int], distribution: torch.Tensor | None = None, unlabelled: bool = False) -> Batch:
    indices = np.arange(len(target))
    return Batch(
        indices, 0, torch.zeros(len(target), 3, 2, 2), torch.tensor(target), distribution=distribution,
        some_unlabelled=unlabelled,
    )  # fmt: skip


def test_logit_adjustment_adds_the_logarithm_of_the_prior() -> None:
    prior, logits = np.array([0.7, 0.2, 0.1]), torch.randn(4, 3)
    expected = F.cross_entropy(logits + torch.from_numpy(np.log(prior)).float(), torch.tensor([0, 1, 2, 2]))
    assert CrossEntropy(0.0, prior)(logits, batch([0, 1, 2, 2])).item() == pytest.approx(expected.item())
    assert not list(CrossEntropy(0.0, prior).state_dict())


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_an_image_without_a_label_adds_nothing(smoothing: float) -> None:
    logits, loss = torch.randn(4, 3), CrossEntropy(smoothing)
    target = torch.tensor([0, 1, 2])
    labelled = F.cross_entropy(logits[:3], target, label_smoothing=smoothing, reduction="sum")
    found = loss(logits, batch([0, 1, 2, -1], unlabelled=True))
    assert found.item() == pytest.approx(labelled.item() / 4, rel=1e-5)
    whole = loss(logits[:3], batch([0, 1, 2], unlabelled=True))
    assert whole.item() == pytest.approx(labelled.item() / 3, rel=1e-5)


def test_a_mixed_image_counts_as_much_as_its_labelled_part() -> None:
    view = View(torch.zeros(1), np.array([0, -1]), np.array([-1, 2]), np.array([0.25, 0.4], np.float32))
    distribution = target_distribution(view, 3)
    assert distribution.tolist() == [[0.75, 0.0, 0.0], [0.0, 0.0, pytest.approx(0.4)]]
    logits = torch.randn(2, 3)
    expected = -(distribution * logits.log_softmax(1)).sum() / 2
    found = CrossEntropy()(logits, batch([0, -1], distribution, unlabelled=True))
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_loss_that_needs_a_label_gets_the_teachers() -> None:
    asked = []

    def loss(student: torch.Tensor, teacher: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        asked.append(target.tolist())
        return (student - teacher).square().mean()

    answers = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 2.0]])
    Distillation(loss, lambda _: answers)(torch.randn(2, 3), batch([0, -1], unlabelled=True))
    assert asked == [[0, 2]]
