"""tests/device/compare.py, which judges the emulated device: it must notice what is not the same."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[1] / "device" / "compare.py"
CLASSES = np.array(["cat", "dog"])
LOGITS = np.array([[2.0, 1.0], [0.0, 1.0]] * 4, np.float32)
SAME = {"classes": CLASSES, "student.onnx": LOGITS, "student.int8.onnx": LOGITS}


@pytest.fixture
def judged(tmp_path: Path) -> Callable[..., int]:
    main = runpy.run_path(str(SCRIPT))["main"]

    def judge(
        machine: str = "aarch64",
        best: str = "cat",
        void: tuple[str, ...] = ("emulated processor",),
        **changes: np.ndarray,
    ) -> int:
        files = {name.replace("_", "."): value for name, value in changes.items()}
        np.savez(tmp_path / "here.npz", **SAME)
        np.savez(tmp_path / "there.npz", **(SAME | files))
        bench = {"host": {"machine": machine}, "void": void}
        (tmp_path / "bench.json").write_text(json.dumps(bench))
        answers = [{"classes": [{"class": name}]} for name in [best, "dog"] + ["cat", "dog"] * 3]
        (tmp_path / "predict.json").write_text(json.dumps(answers))
        names = ("here.npz", "there.npz", "bench.json", "predict.json")
        return int(main(*(str(tmp_path / name) for name in names)))

    return judge


def test_the_same_answers_pass(judged: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert judged() == 0
    assert judged(student_onnx=LOGITS + np.float32(5e-5)) == 0
    one_other = LOGITS.copy()
    one_other[0] = one_other[0, ::-1]
    assert judged(student_int8_onnx=one_other) == 0
    out = capsys.readouterr().out
    assert "another best class 12 %" in out
    assert "latencies void: emulated processor" in out
    assert "predict: 8 of 8 pictures as here" in out


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"machine": "x86_64"}, "that was no ARM: x86_64"),
        ({"void": ()}, "bench does not say that latencies of an emulated processor are void"),
        ({"void": ("throttled",)}, "bench does not say that latencies"),
        ({"best": "dog"}, "predict answers otherwise there"),
        ({"student_onnx": LOGITS + np.float32(1e-3)}, "student.onnx answers otherwise there"),
        ({"student_onnx": LOGITS * np.float32("nan")}, "student.onnx answers otherwise there"),
        ({"student_int8_onnx": -LOGITS}, "student.int8.onnx answers otherwise there"),
        ({"classes": CLASSES[::-1]}, "the classes differ"),
        ({"teacher_onnx": LOGITS}, "models differ: {'teacher.onnx'}"),
    ],
)
def test_what_is_not_the_same_is_noticed(
    judged: Callable[..., int], changes: dict, cause: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert judged(**changes) == 6
    assert f"FAILED: {cause}" in capsys.readouterr().err
