"""The model to ship: INT8 where it passed and is not slower, float32 otherwise, nothing with a fault."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fixtures.benchresults import model, result_of
from kdtool.results.bench import ModelDifference
from kdtool.results.shipping import added_in_words, shipping_in_words, to_ship


def models(int8_ms: float = 1.0, student_ms: float = 2.0, **changes: Any) -> tuple[Any, ...]:
    student = replace(model("student", student_ms), size_bytes=4000)
    return student, replace(model("student-int8", int8_ms), size_bytes=1000, **changes)


def test_int8_is_shipped_where_it_is_not_slower() -> None:
    shipped = to_ship(result_of(models()))
    assert shipped and shipped.model.name == "student-int8"
    assert shipped.why == "INT8, 25 % of the float32 file"
    lines = shipping_in_words(result_of(models()), Path("artifacts/x"))
    assert lines[0] == "Ship artifacts/x/onnx/student-int8.onnx (INT8, 25 % of the float32 file)."
    assert lines[-1] == "Next, for an app or a web page: kdtool bundle artifacts/x"


def test_float32_is_shipped_where_int8_is_slower() -> None:
    shipped = to_ship(result_of(models(int8_ms=4.0)))
    assert shipped and shipped.model.name == "student"
    assert "INT8 is slower here (0.50 × as fast)" in shipped.why


def test_int8_is_shipped_where_it_is_not_certainly_slower() -> None:
    """Eight noisy sessions, with a median above that of float32."""
    student, int8 = models(int8_ms=2.055)
    noisy, sessions = (1.7, 1.8, 1.9, 2.05, 2.06, 2.6, 2.9, 2.2), (1,) * 8
    unsure = replace(int8, latency_ms=replace(int8.latency_ms, samples=noisy, sessions=sessions))
    steady = replace(student, latency_ms=replace(student.latency_ms, samples=(2.0,) * 8, sessions=sessions))
    shipped = to_ship(result_of((steady, unsure)))
    assert shipped and shipped.model.name == "student-int8"


def test_a_model_with_a_fault_is_not_shipped() -> None:
    student, int8 = models(fault="it answers 'x' for 100 % of the images")
    assert (found := to_ship(result_of((student, int8)))) and found.model.name == "student"
    assert to_ship(result_of((replace(student, fault="chance"), int8))) is None
    assert to_ship(result_of((model("teacher", 3.0),))) is None
    assert shipping_in_words(result_of((model("teacher", 3.0),)), Path("x")) == ()


def pair(name: str, against: str, points: float, interval: tuple[float, float]) -> ModelDifference:
    return ModelDifference(name, against, 372, 9, 5, points, interval, None, None, 0.1, 0.2)


@pytest.mark.parametrize("turned", [False, True])
def test_what_training_added_is_said(turned: bool) -> None:
    differences = (
        pair("student", "baseline", 1.5, (-0.5, 3.5)),
        pair("probe", "student", -4.0, (-6.0, -2.0))
        if not turned
        else pair("probe", "student", 1.0, (-1.0, 3.0)),
    )
    first, second = added_in_words(replace(result_of(models()), differences=differences))
    assert "+1.50 percentage points (-0.5 to +3.5) over the same student without a teacher, which" in first
    if turned:
        assert "did not beat the frozen network" in second
    else:
        assert "the student has +4.00 percentage points (+2.0 to +6.0) over its own frozen features" in second
        assert "chance" not in second
