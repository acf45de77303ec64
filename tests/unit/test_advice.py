"""Advice names what was given and the setting that mends it, and a sound recipe gets none."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdtool.doctor.recipe import check_recipe
from kdtool.recipe.advice import advise, advise_patience, smoothed_teacher, worse_teacher
from kdtool.recipe.files import override_recipe
from kdtool.recipe.settings import Recipe
from kdtool.runs.folder import RunFolder

STANDARDIZED = {"standardize": True}


@pytest.mark.parametrize(
    ("loss", "params", "classes", "smoothing", "given_and_mended"),
    [
        ("kd", {"temperature": 4.0}, 10, 0.1, ["smoothing 0.1", "temperature is 4", "temperature=1"]),
        ("kd", {"temperature": 2.5}, 100, 0.2, ["smoothing 0.2", "temperature is 2.5", "temperature=1"]),
        (
            "kd", STANDARDIZED | {"temperature": 2.0}, 10, 0.0,
            ["10 classes", "temperature 2:", "exceed 0.35", "At 1.215 it is 0.60", "temperature=1.215"],
        ),
        ("dkd", STANDARDIZED | {"temperature": 4}, 100, 0.0, ["100 classes", "exceed 0.11", "temperature=2"]),
        ("kd", STANDARDIZED | {"temperature": 1.0}, 2, 0.0, ["2 classes", "±0.71", "standardize=false"]),
        ("dkd", {"temperature": 4.0}, 2, 0.0, ["2 classes", "NCKD is 0", "loss.name=kd"]),
        ("deit_soft", {"temperature": 3.0}, 100, 0.0, ["100 classes", "100 times less", "loss.name=kd"]),
    ],
)  # fmt: skip
def test_each_piece_of_advice(
    loss: str, params: dict[str, Any], classes: int, smoothing: float, given_and_mended: list[str]
) -> None:
    (advice,) = advise(loss, params, classes, smoothing)
    for part in given_and_mended:
        assert part in advice


@pytest.mark.parametrize(
    ("loss", "params", "classes", "smoothing"),
    [
        ("kd", {"temperature": 4.0}, 10, 0.0),
        ("kd", {"temperature": 2.0}, 10, 0.1),
        ("kd", {}, 10, 0.1),
        ("kd", STANDARDIZED, 10, 0.0),
        ("kd", STANDARDIZED | {"temperature": 2.0}, 100, 0.0),
        ("kd", STANDARDIZED | {"temperature": 1.215}, 10, 0.0),
        ("kd", {"standardize": False, "temperature": 4.0}, 2, 0.0),
        ("dkd", {"temperature": 4.0}, 3, 0.0),
        ("deit_soft", {"temperature": 3.0}, 99, 0.0),
        ("unknown", {}, 10, 0.0),
        ("dkd", STANDARDIZED, 1, 0.0),
        ("dkd", STANDARDIZED, 0, 0.0),
    ],
)
def test_nothing_speaks_against_these(
    loss: str, params: dict[str, Any], classes: int, smoothing: float
) -> None:
    assert advise(loss, params, classes, smoothing) == []


def test_several_at_once() -> None:
    said = advise("dkd", STANDARDIZED | {"temperature": 4.0}, 2, 0.1)
    assert len(said) == 3
    said = advise("kd", STANDARDIZED | {"temperature": 4.0}, 10, 0.1)
    assert len(said) == 2
    assert all("temperature=1.215" in advice for advice in said)


@pytest.mark.parametrize("temperature", ["high", None, 0, -1.0, float("nan"), float("inf"), 10**400, []])
def test_a_temperature_that_is_none_is_left_to_training(temperature: Any) -> None:
    assert advise("kd", STANDARDIZED | {"temperature": temperature}, 10, 0.1) == []


@given(
    st.sampled_from(["kd", "dkd", "deit_soft", "dist"]),
    st.integers(2, 1000),
    st.floats(0.01, 100),
    st.booleans(),
    st.sampled_from([0.0, 0.1]),
)
def test_following_the_advice_ends_it(
    loss: str, classes: int, temperature: float, standardized: bool, smoothing: float
) -> None:
    recipe = override_recipe(Recipe(name="tiny"), [f"student.loss.name={loss}"])
    recipe = override_recipe(recipe, [f"student.loss.temperature={temperature}"])
    recipe = override_recipe(recipe, [f"student.loss.standardize={str(standardized).lower()}"])
    for _ in range(4):
        said = advise(recipe.student.loss.name, recipe.student.loss.params, classes, smoothing)
        if not said:
            return
        settings = re.findall(r"--set (student\S+?)(?=,? |$)", said[0])
        assert settings
        recipe = override_recipe(recipe, [setting.rstrip(",") for setting in settings])
    assert not said


def test_smoothed_teacher_is_told_of_a_temperature_above_two_alone() -> None:
    assert smoothed_teacher(0.1, 2.0) is None
    assert smoothed_teacher(0.0, 8.0) is None
    assert "temperature is 2.1" in (smoothed_teacher(0.1, 2.1) or "")


def test_a_teacher_that_is_worse() -> None:
    advice = worse_teacher(0.8, 0.85, "validation") or ""
    assert "(80.0 against 85.0 % of the validation images)" in advice
    assert "--set teacher.epochs=" in advice
    assert worse_teacher(0.85, 0.85, "validation") is None
    assert "test images" in (worse_teacher(0.1, 0.2, "test") or "")


def test_patience_ends_a_falling_learning_rate_early() -> None:
    advice = advise_patience("student", "cosine", 10, 60) or ""
    assert "student.patience is 10 with the schedule cosine" in advice
    assert "--set student.patience=0" in advice
    assert advise_patience("student", "constant", 10, 60) is None
    assert advise_patience("student", "cosine", 0, 60) is None
    assert advise_patience("student", "cosine", 60, 60) is None, "it cannot stop before the last epoch"


@pytest.mark.parametrize(
    "overrides, said",
    [
        (["student.schedule=cosine"], ["student.patience is 10"]),
        (["teacher.schedule=cosine", "teacher.patience=3"], ["teacher.patience is 3"]),
        (["teacher.schedule=cosine", "teacher.patience=3", "teacher.trained=other"], []),
        (["student.loss.name=dkd"], ["dkd with 2 classes"]),
        (["student.loss.name=dkd", "student.loss.weight=0", "student.features.name=fitnet"], []),
    ],
)
def test_doctor_speaks_of_what_counts(tmp_path: Path, overrides: list[str], said: list[str]) -> None:
    """Not of a loss without weight, nor of how a teacher from elsewhere would have been trained."""
    recipe = override_recipe(Recipe(name="tiny"), overrides)
    found = [finding.text for finding in check_recipe(RunFolder(tmp_path), recipe, ["cat", "dog"])]
    assert [advice[: len(part)] for advice, part in zip(found, said, strict=True)] == said
