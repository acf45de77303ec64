"""What a reader of the figures must know."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fixtures.benchresults import model
from fixtures.hosts import MACHINE
from kdtool.benchmark.notes import accuracy_notes, finetuned_notes, latency_notes, target_notes


def test_notes_on_accuracy() -> None:
    assert accuracy_notes([model("teacher")]) == []
    assert "900 images" in accuracy_notes([model("teacher", interval=(0.8, 0.95))])[0]
    assert "no test images" in accuracy_notes([model("teacher", interval=None)])[0]


def test_int8_that_does_not_pay_is_said_of_the_machine_it_was_measured_on() -> None:
    assert latency_notes([model("student"), model("student-int8", 5)], MACHINE) == []
    (note,) = latency_notes([model("student"), model("student-int8", 12)], MACHINE)
    assert note.startswith("On A CPU (x86-avx2), student-int8 is 0.83 × as fast as student (95 % interval ")
    assert "2 threads). This is not clearly 1.1 × or more: prefer the FP32 model on this machine" in note
    assert latency_notes([model("student"), model("student-int8", 9.5)], MACHINE)  # 1.05 times
    (note,) = latency_notes([model("student")], replace(MACHINE, usable=1))
    assert "2 threads shared the 1 processors" in note


@pytest.mark.parametrize("p50", [5, 12])
def test_speed_of_a_file_for_another_processor_recommends_nothing(p50: float) -> None:
    foreign = replace(model("student-int8", p50), target="arm-dotprod")
    (note,) = latency_notes([model("student"), foreign], MACHINE)
    assert f"is {10 / p50:.2f} × as fast as student" in note
    assert "made for arm-dotprod: this ratio says nothing about its speed on arm-dotprod" in note
    assert "nothing about the speed of a file made for x86-avx2." in note
    assert "prefer" not in note
    ours = replace(foreign, target=MACHINE.int8_target)
    assert len(latency_notes([model("student"), ours], MACHINE)) == (p50 > 10)


def test_int8_is_held_against_the_float_model_of_its_own_runtime() -> None:
    slow = replace(model("student", 30), name="student@openvino", runtime="openvino")
    fast = replace(model("student-int8", 20), name="student-int8@openvino", runtime="openvino")
    assert latency_notes([model("student", 10), slow, fast], MACHINE) == []
    assert len(latency_notes([model("student", 10), fast], MACHINE)) == 0  # nothing to hold it against


def test_notes_on_int8_made_for_another_processor() -> None:
    ours, foreign = (replace(model("student-int8"), target=target) for target in ("x86-avx2", "abacus"))
    assert target_notes([model("student"), ours], MACHINE) == []
    (note,) = target_notes([ours, foreign], MACHINE)
    assert "student-int8 was quantized for abacus, but this machine is x86-avx2" in note
    assert "its accuracy and its speed hold on x86-avx2 alone" in note
    assert "kdtool quantize --target x86-avx2" in note


def test_a_model_that_was_finetuned_is_not_compared_in_silence() -> None:
    tuned = replace(model("student-int8"), finetuned="2 epochs")
    assert finetuned_notes([model("student"), model("student-int8")]) == []
    (note,) = finetuned_notes([model("teacher"), model("student"), tuned])
    assert note == (
        "student-int8 was fine-tuned for INT8 (2 epochs) and student was not: their predictions differ "
        "because of the fine-tuning and of 8 bits together."
    )
    (note,) = finetuned_notes([tuned])
    assert "and the FP32 model was not" in note
