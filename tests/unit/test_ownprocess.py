"""Cold starts that fail say why."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.commands import stand_in
from kdtool.benchmark.notes import start_notes
from kdtool.benchmark.timing.coldstart import ColdStarts, Started
from kdtool.core.screen import QUIET


def starts(folder: Path, times: int) -> list[Started]:
    cold = ColdStarts([("onnxruntime", folder / "m.onnx", (1, 3, 8, 8))], 1)
    with QUIET.bar("", 1) as bar:
        for _ in range(times):
            cold.once(bar)
    return cold.results()


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("kill -9 $$", "ended by signal 9"),
        (
            "echo 'Traceback:'; echo 'kdtool.X: m.onnx: broken.\nMake it again.' >&2; exit 1",
            "m.onnx: broken.",
        ),
        ("echo odd >&2; exit 4", "odd"),
        ("exit 4", "exit code 4"),
        ("echo garbage", "its output cannot be read"),
        ("true", "its output cannot be read"),
        ("exec sleep 5", "no answer in 0.5 seconds"),
    ],
)
def test_a_model_that_does_not_start_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, why: str
) -> None:
    stand_in(script, tmp_path, monkeypatch)
    monkeypatch.setattr("kdtool.benchmark.timing.coldstart.PATIENCE", 0.5 if "sleep" in script else 60)
    (started,) = starts(tmp_path, 1)
    assert started == Started(None, f"1 of 1 starts failed: {why}")
    (note,) = start_notes({"teacher": "", "student": started.failure})
    assert note.startswith("student: cold start and memory")
    assert why in note


def test_a_process_that_cannot_be_made_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kdtool.benchmark.timing.coldstart.sys.executable", str(tmp_path / "absent"))
    (started,) = starts(tmp_path, 2)
    assert started.failure == "2 of 2 starts failed: No such file or directory"
