"""Every logit loss against its authors' values, and the properties all of them share."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from kdtool.core.errors import UsageError
from kdtool.losses import LOGIT_LOSSES, logit_loss

GOLDEN = Path(__file__).parents[1] / "golden"
VALUES = np.load(GOLDEN / "losses.npz")


def golden_cases() -> list[dict]:
    """The cases that a loss of the table can express with its parameters."""
    cases = json.loads((GOLDEN / "losses.json").read_text())
    return [
        case
        for case in cases
        if case["method"] in LOGIT_LOSSES
        and set(case["params"]) <= set(inspect.signature(LOGIT_LOSSES[case["method"]]).parameters)
    ]


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


@pytest.mark.parametrize("name", LOGIT_LOSSES)
@pytest.mark.parametrize("classes", [2, 10, 100, 1000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_finite_at_any_logits(name: str, classes: int, dtype: torch.dtype, scale: float) -> None:
    student, teacher, target = random_logits(classes, scale, dtype)
    value = LOGIT_LOSSES[name](student, teacher, target)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(student.grad).all()
    assert teacher.grad is None, "the teacher must not learn"


@pytest.mark.parametrize("name", LOGIT_LOSSES)
def test_independent_of_the_batch(name: str) -> None:
    """A mean over the batch: twice the same images are the same loss."""
    student, teacher, target = random_logits(10, 3.0, torch.float64)
    once = LOGIT_LOSSES[name](student, teacher, target)
    twice = LOGIT_LOSSES[name](student.repeat(2, 1), teacher.repeat(2, 1), target.repeat(2))
    assert once.item() == pytest.approx(twice.item(), rel=1e-12)


@pytest.mark.parametrize("name", LOGIT_LOSSES)
def test_cites_its_source(name: str) -> None:
    assert "arXiv:" in (inspect.getdoc(inspect.getmodule(LOGIT_LOSSES[name])) or "")


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_kd_is_zero_where_the_student_is_the_teacher(temperature: float) -> None:
    _, teacher, target = random_logits(10, 5.0, torch.float64)
    assert LOGIT_LOSSES["kd"](
        teacher.detach(), teacher, target, temperature=temperature
    ).item() == pytest.approx(0)


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
