"""Defaults of a recipe depend on the number of classes and the teacher; given values are kept."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kdtool.losses import LOGIT_LOSSES, dkd_loss, logit_loss
from kdtool.losses.standardize import standardize
from kdtool.recipe.advice import advise
from kdtool.recipe.defaults import DERIVED, highest_probability, resolve, standardized_temperature

names = st.sampled_from(sorted(LOGIT_LOSSES))
class_counts = st.integers(2, 1000)
smoothings = st.sampled_from([0.0, 0.1, 0.3])
GIVEN = {"temperature": 3.5, "beta": 7.5, "standardize": True, "gamma": 2.5}


def filled(name: str, classes: int, smoothing: float = 0.0, **params: Any) -> dict[str, Any]:
    """Return the parameters that were added to `params`."""
    resolved = resolve(name, params, classes, smoothing)
    added = {key: value for key, value in resolved.params.items() if key not in params}
    assert len(resolved.reasons) == len(added)
    return added


@pytest.mark.parametrize("classes", [2, 3, 10, 100, 1000])
@pytest.mark.parametrize("temperature", [0.5, 1.215, 2.0, 4.0])
def test_the_highest_probability_is_that_of_a_one_hot_row(classes: int, temperature: float) -> None:
    row = torch.zeros(1, classes, dtype=torch.float64)
    row[0, 0] = 9
    highest = torch.softmax(standardize(row) / temperature, dim=1).max().item()
    assert highest_probability(classes, temperature) == pytest.approx(highest, abs=1e-6)


@pytest.mark.parametrize(
    ("classes", "temperature", "highest"),
    [(10, 1.2, 0.6), (10, 0.88, 0.8), (10, 0.72, 0.9), (10, 2, 0.35), (100, 2, 0.6), (1000, 2, 1.0)],
)  # figures of the literature, rounded
def test_highest_probabilities_that_are_known(classes: int, temperature: float, highest: float) -> None:
    assert highest_probability(classes, temperature) == pytest.approx(highest, abs=0.01)


@pytest.mark.parametrize("name", ["kd", "dkd"])
@pytest.mark.parametrize(
    ("classes", "temperature"), [(2, 2.0), (3, 1.577), (10, 1.215), (100, 2.0), (1000, 2.0)]
)
def test_temperature_of_standardized_logits(name: str, classes: int, temperature: float) -> None:
    assert filled(name, classes, standardize=True)["temperature"] == pytest.approx(temperature, abs=1e-3)


@given(class_counts)
def test_a_sure_teacher_keeps_its_majority(classes: int) -> None:
    temperature = standardized_temperature(classes)
    highest = highest_probability(classes, temperature)
    assert 0 < temperature <= 2
    assert highest >= 0.599
    assert temperature == 2 or highest == pytest.approx(0.6, abs=1e-3)


@pytest.mark.parametrize(
    ("name", "smoothing", "expected"),
    [
        ("kd", 0.1, {"temperature": 1.0}),
        ("dkd", 0.1, {"temperature": 1.0, "beta": 0.727}),
        ("deit_soft", 0.1, {"temperature": 1.0}),
        ("dist", 0.1, {}),
        ("dist", 0.0, {"temperature": 4.0}),
        ("dkd", 0.0, {"beta": 0.727}),
        ("kd", 0.0, {}),
        ("nkd", 0.1, {}),
        ("deit_hard", 0.1, {}),
        ("unknown", 0.1, {}),
    ],
)
def test_ten_classes(name: str, smoothing: float, expected: dict[str, float]) -> None:
    assert filled(name, 10, smoothing) == expected


def test_smoothing_leaves_the_temperature_of_standardized_logits_alone() -> None:
    assert filled("kd", 10, 0.1, standardize=True) == filled("kd", 10, 0.0, standardize=True)


def test_dist_is_as_published_with_more_classes() -> None:
    assert filled("dist", 11) == {}


def test_reasons_say_what_was_taken_and_why() -> None:
    said = " ".join(resolve("dkd", {"standardize": True}, 10, 0.0).reasons)
    assert "dkd: temperature 1.215 for standardized logits of 10 classes" in said
    assert "then 0.60, at the published temperature 2 it is 0.35" in said
    assert "dkd: beta 0.727 = 8 · (K − 1) / 99 for 10 classes; the authors tuned 8 for 100." in said
    (smoothed,) = resolve("kd", {}, 10, 0.1).reasons
    assert smoothed.startswith("kd: temperature 1 for a teacher trained with label smoothing 0.1, which")


@given(st.integers(3, 1000))
def test_beta_rises_with_the_classes_up_to_the_published(classes: int) -> None:
    smaller, larger = ({"beta": 8.0, **filled("dkd", count)}["beta"] for count in (classes, classes + 1))
    assert 0 < smaller <= larger <= 8
    assert (smaller == 8) == (classes >= 100)


def test_beta_has_no_part_with_two_classes() -> None:
    assert filled("dkd", 2) == {}


@pytest.mark.parametrize("classes", [5, 10, 50])
def test_beta_keeps_the_pull_on_each_logit(classes: int) -> None:
    """At a high temperature, one other class being off by 1 is pulled as with 100 classes and β = 8."""

    def pull(count: int, beta: float) -> float:
        student = torch.zeros(1, count, dtype=torch.float64, requires_grad=True)
        teacher = torch.zeros(1, count, dtype=torch.float64)
        teacher[0, 1] = 1
        loss = dkd_loss(student, teacher, torch.tensor([0]), alpha=0.0, beta=beta, temperature=1000.0)
        (gradient,) = torch.autograd.grad(loss, student)
        return gradient[0, 1].item() * (count - 1) / (count - 2)  # the mean over the others is taken off

    assert pull(classes, filled("dkd", classes)["beta"]) == pytest.approx(pull(100, 8.0), rel=0.02)


@given(names, class_counts, smoothings, st.sets(st.sampled_from(sorted(GIVEN))))
def test_what_is_given_is_kept(name: str, classes: int, smoothing: float, keys: set[str]) -> None:
    params = {key: GIVEN[key] for key in keys}
    before = dict(params)
    resolved = resolve(name, params, classes, smoothing)
    assert params == before
    assert {key: resolved.params[key] for key in params} == params
    assert len(resolved.reasons) == len(resolved.params) - len(params)


@given(names, class_counts, smoothings, st.booleans())
def test_nothing_speaks_against_a_temperature_that_is_filled_in(
    name: str, classes: int, smoothing: float, standardized: bool
) -> None:
    params = {"standardize": True} if standardized and name in ("kd", "dkd") else {}
    resolved = resolve(name, params, classes, smoothing)
    loss = logit_loss(name, resolved.params)
    temperature = loss.keywords.get("temperature", LOGIT_LOSSES[name].__kwdefaults__["temperature"])
    said = advise(name, {**resolved.params, "temperature": temperature}, classes, smoothing)
    assert not any("student.loss.temperature" in advice for advice in said)


def test_only_losses_that_exist_have_derived_defaults() -> None:
    assert set(DERIVED) <= set(LOGIT_LOSSES)
