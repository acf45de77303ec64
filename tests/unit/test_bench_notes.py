"""What a reader of the figures must know."""

from __future__ import annotations

from kdtool.bench.notes import accuracy_notes, latency_notes, target_notes
from kdtool.core.cpu import int8_target
from measurements import model


def test_notes_on_accuracy() -> None:
    assert accuracy_notes([model("teacher")]) == []
    assert "900 images" in accuracy_notes([model("teacher", interval=(0.8, 0.95))])[0]
    assert "no test images" in accuracy_notes([model("teacher", interval=None)])[0]


def test_notes_on_latency() -> None:
    quick, slow = model("student-int8", 5), model("student-int8", 12)
    assert latency_notes([model("student"), quick], 2) == []
    note = latency_notes([model("student"), slow], 2)[0]
    assert "student-int8 is not at least 1.1 × as fast as student" in note
    assert "not at least 1.1 ×" in latency_notes([model("student"), model("student-int8", 9.5)], 2)[0]
    assert "2 threads shared the 1 processors" in latency_notes([model("student")], 1)[0]


def test_notes_on_int8_made_for_another_processor() -> None:
    here = int8_target()
    assert target_notes({"student-int8": here}) == []
    (note,) = target_notes({"teacher-int8": here, "student-int8": "abacus"})
    assert f"student-int8 was quantized for abacus, this machine is {here}" in note
    assert f"kdtool quantize --target {here}" in note
