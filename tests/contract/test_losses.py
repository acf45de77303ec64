"""Every logit loss: values of its authors, and properties that all losses share."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from kdtool.core.errors import UsageError
from kdtool.losses import LOGIT_LOSSES, dkd_loss, logit_loss
from kdtool.losses.standardize import standardize

GOLDEN = Path(__file__).parents[1] / "golden"
VALUES = np.load(GOLDEN / "losses.npz")


def golden_cases() -> list[dict]:
    """Golden cases of the logit losses; `test_feature_losses` has the others."""
    cases = json.loads((GOLDEN / "losses.json").read_text())
    return [case for case in cases if "student" in case["inputs"]]


def random_logits(
    classes: int, scale: float, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(classes)
    student, teacher = ((torch.rand(6, classes, generator=generator) * 2 - 1) * scale for _ in range(2))
    target = torch.randint(classes, (6,), generator=generator)
    return student.to(dtype).requires_grad_(), teacher.to(dtype).requires_grad_(), target


def test_there_are_golden_cases_for_every_loss() -> None:
    assert {case["method"] for case in golden_cases()} == set(LOGIT_LOSSES)


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-6), (torch.float32, 1e-5)])
@pytest.mark.parametrize("case", golden_cases(), ids=lambda case: f"{case['case']}-{case['method']}")
def test_value_and_gradient_are_the_authors(case: dict, dtype: torch.dtype, tolerance: float) -> None:
    inputs = {name: torch.from_numpy(VALUES[f"{case['case']}/{name}"]) for name in case["inputs"]}
    student = inputs["student"].to(dtype).requires_grad_()
    target = inputs.get("target", torch.zeros(len(student), dtype=torch.int64))
    value = LOGIT_LOSSES[case["method"]](student, inputs["teacher"].to(dtype), target, **case["params"])
    value.backward()
    assert value.item() == pytest.approx(case["value"], rel=tolerance, abs=tolerance)
    expected = VALUES[f"{case['case']}/grad_student"]
    np.testing.assert_allclose(student.grad.numpy(), expected, rtol=tolerance, atol=tolerance)


VARIANTS = [
    (name, params)
    for name, loss in LOGIT_LOSSES.items()
    for params in ({}, {"standardize": True})
    if set(params) <= set(inspect.signature(loss).parameters)
]


@pytest.mark.parametrize("name, params", VARIANTS)
@pytest.mark.parametrize("classes", [2, 10, 100, 1000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_finite_at_any_logits(
    name: str, params: dict, classes: int, dtype: torch.dtype, scale: float
) -> None:
    student, teacher, target = random_logits(classes, scale, dtype)
    value = LOGIT_LOSSES[name](student, teacher, target, **params)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(student.grad).all()
    assert teacher.grad is None, "the teacher must not learn"


@pytest.mark.parametrize("name, params", VARIANTS)
def test_independent_of_the_batch(name: str, params: dict) -> None:
    """The loss is a mean over the batch: the same images twice give the same loss."""
    student, teacher, target = random_logits(10, 3.0, torch.float64)
    once = LOGIT_LOSSES[name](student, teacher, target, **params)
    twice = LOGIT_LOSSES[name](student.repeat(2, 1), teacher.repeat(2, 1), target.repeat(2), **params)
    assert once.item() == pytest.approx(twice.item(), rel=1e-6)


@pytest.mark.parametrize("name", LOGIT_LOSSES)
def test_cites_its_source(name: str) -> None:
    assert "arXiv:" in (inspect.getdoc(inspect.getmodule(LOGIT_LOSSES[name])) or "")


# a divergence, or one minus a correlation, is zero for equal logits; the other losses are cross-entropies
DIVERGENCES = {
    "kd": [{}, {"temperature": 1.0}, {"standardize": True}],
    "dkd": [{}, {"temperature": 1.0}, {"standardize": True}],
    "dist": [{}, {"temperature": 4.0}],
    "deit_soft": [{}],
}
CROSS_ENTROPIES = {"nkd", "deit_hard"}


def test_it_is_said_of_every_loss_whether_it_can_be_zero() -> None:
    assert set(DIVERGENCES) | CROSS_ENTROPIES == set(LOGIT_LOSSES)


@pytest.mark.parametrize("name, params", [(name, p) for name, cases in DIVERGENCES.items() for p in cases])
@pytest.mark.parametrize("classes", [10, 100])
def test_zero_where_the_student_is_the_teacher(name: str, params: dict, classes: int) -> None:
    student, teacher, target = random_logits(classes, 3.0, torch.float64)
    same = LOGIT_LOSSES[name](teacher.detach(), teacher, target, **params)
    other = LOGIT_LOSSES[name](student.detach(), teacher, target, **params)
    almost = 0.01 if name == "dist" else 1e-7  # the published 1e-8 in DIST's denominator
    assert abs(same.item()) < almost
    assert other.item() > 10 * almost


@pytest.mark.parametrize("name", LOGIT_LOSSES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_equal_logits_are_no_trouble(name: str, dtype: torch.dtype) -> None:
    """All logits of a new student may be equal; the published standardization then has a NaN gradient."""
    student = torch.zeros(4, 10, dtype=dtype, requires_grad=True)
    teacher, target = torch.randn(4, 10).to(dtype), torch.arange(4)
    params = (
        {"standardize": True} if "standardize" in inspect.signature(LOGIT_LOSSES[name]).parameters else {}
    )
    LOGIT_LOSSES[name](student, teacher, target, **params).backward()
    assert torch.isfinite(student.grad).all()


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_a_standardized_one_hot_has_the_gap_root_k(classes: int) -> None:
    rows = standardize(torch.eye(classes, dtype=torch.float64))
    np.testing.assert_allclose((rows.amax(1) - rows.amin(1)).numpy(), classes**0.5, rtol=1e-5)


def test_the_other_classes_mean_nothing_to_dkd_with_two() -> None:
    student, teacher, target = random_logits(2, 3.0, torch.float64)
    without = dkd_loss(student, teacher, target, beta=0.0)
    assert dkd_loss(student, teacher, target, beta=100.0).item() == pytest.approx(without.item())


def test_each_weight_of_dist_is_of_its_own_part() -> None:
    """β weighs the correlation of rows (classes of an image), γ that of columns; checked with numpy."""
    student, teacher, target = random_logits(10, 3.0, torch.float64)
    shares = [torch.softmax(logits.detach(), 1).numpy() for logits in (student, teacher)]
    rows, columns = (
        1 - np.mean([np.corrcoef(one, other)[0, 1] for one, other in zip(*pair, strict=True)])
        for pair in (shares, [share.T for share in shares])
    )
    for params, expected in (
        ({"gamma": 0.0}, rows),
        ({"beta": 0.0}, columns),
        ({"beta": 2.0}, 2 * rows + columns),
    ):
        value = LOGIT_LOSSES["dist"](student, teacher, target, **params).item()
        assert value == pytest.approx(expected, rel=1e-5)


def test_a_hard_decision_has_no_temperature() -> None:
    with pytest.raises(UsageError, match=r"temperature is 3\.0; deit_hard .* allowed: 1"):
        logit_loss("deit_hard", {"temperature": 3.0})(*random_logits(10, 1.0, torch.float32))


def test_unknown_loss_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"student\.loss\.name is 'hinton'; allowed: kd"):
        logit_loss("hinton", {})


def test_unknown_parameter_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"student\.loss\.temprature.*allowed: temperature"):
        logit_loss("kd", {"temprature": 2.0})


def test_temperature_must_be_positive() -> None:
    student, teacher, target = random_logits(10, 1.0, torch.float32)
    with pytest.raises(UsageError, match=r"temperature is 0; allowed: above 0"):
        logit_loss("kd", {"temperature": 0})(student, teacher, target)


@pytest.mark.parametrize(
    "name, params, message",
    [
        ("kd", {"standardize": "False"}, r"standardize is 'False'; allowed: true or false\.\n.*=false"),
        ("kd", {"standardize": 0}, r"standardize is 0; allowed: true or false"),
        ("kd", {"temperature": True}, r"temperature is True; allowed: a finite number\.\n.*temperature=4\.0"),
        ("kd", {"temperature": "warm"}, r"temperature is 'warm'; allowed: a finite number"),
        ("kd", {"temperature": float("inf")}, r"temperature is inf; allowed: a finite number"),
        ("kd", {"temperature": 10**400}, r"temperature is 10+; allowed: a finite number"),
        ("kd", {"temperature": 1e300}, r"'kd' cannot take temperature=1e\+300 \(.*out of range"),
        ("kd", {"temperature": 1e30}, r"'kd' cannot take temperature=1e\+30 \(the loss is (nan|inf)\)"),
        ("dkd", {"beta": float("nan")}, r"student\.loss\.beta is nan; allowed: a finite number"),
        ("dkd", {"alpha": -1}, r"student\.loss\.alpha is -1; allowed: 0 or more"),
        ("dkd", {"beta": -8.0}, r"student\.loss\.beta is -8\.0; allowed: 0 or more"),
        ("nkd", {"gamma": float("inf")}, r"student\.loss\.gamma is inf; allowed: a finite number"),
        ("nkd", {"gamma": -0.1}, r"student\.loss\.gamma is -0\.1; allowed: 0 or more"),
        ("dist", {"beta": -1.0}, r"student\.loss\.beta is -1\.0; allowed: 0 or more"),
        ("dist", {"gamma": -1.0}, r"student\.loss\.gamma is -1\.0; allowed: 0 or more"),
    ],
)  # fmt: skip
def test_wrong_parameters_are_refused_before_training(name: str, params: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        logit_loss(name, params)


@pytest.mark.parametrize("name", LOGIT_LOSSES)
def test_every_parameter_has_a_default_of_the_type_it_takes(name: str) -> None:
    parameters = inspect.signature(LOGIT_LOSSES[name]).parameters.values()
    defaults = {one.name: one.default for one in parameters if one.kind is one.KEYWORD_ONLY}
    assert {type(value) for value in defaults.values()} <= {bool, int, float}
    logit_loss(name, defaults)
