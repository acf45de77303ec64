"""Messages name keyword arguments in Python, and options on the command line."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import kdtool
from fixtures.runs.onnxmodels import CLASSES, SIDE, classifier, photographs
from kdtool.cli import main
from kdtool.core.errors import KdtoolError
from kdtool.core.modelinfo import ModelInfo
from kdtool.core.spelling import Caller, assigned, called_from

RULE = kdtool.Preprocess(SIDE, SIDE)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write photos/, bad/ with an unreadable photo, run/, student.onnx, and foreign.onnx without classes."""
    for name in ("photos", "bad"):
        photographs(tmp_path / name, {"": 6})
    (tmp_path / "bad" / "red" / "0.png").write_bytes(b"no image")
    (tmp_path / "run" / "onnx").mkdir(parents=True)
    (tmp_path / "student.onnx").write_bytes(classifier(ModelInfo("student", "tiny", CLASSES, RULE)))
    (tmp_path / "foreign.onnx").write_bytes(classifier(None))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def network() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * SIDE * SIDE, 3))


def run(**fields: object) -> kdtool.Run:
    changes = {name.replace("__", "."): value for name, value in fields.items()}
    return kdtool.run("photos", recipe="digits", out="new", set=changes)


def export(**arguments: Any) -> Path:
    return kdtool.export(network(), "x.onnx", classes=CLASSES, size=SIDE, **arguments)


@pytest.mark.parametrize(
    ("call", "spelling"),
    [
        (lambda: kdtool.run(recipe="foo"), "recipe foo: neither"),
        (lambda: kdtool.run("nope"), "data nope: there is no such folder"),
        (lambda: kdtool.open_data("nope"), "data nope: there is no such folder"),
        (lambda: kdtool.bench("student.onnx", "nope"), "data nope: there is no such folder"),
        (lambda: kdtool.quantize("student.onnx", "nope"), "images nope: there is no such folder"),
        (lambda: kdtool.open_run("run").bundle("foo"), "role foo: unknown"),
        (lambda: kdtool.open_run("run").bundle(targets=["symbian"]), "targets symbian: unknown"),
        (lambda: kdtool.bench("student.onnx", judged="abacus"), 'Name one of them: judged="NAME"'),
        (lambda: kdtool.bench("student.onnx", reference="abacus"), 'Name one of them: reference="NAME"'),
        (lambda: kdtool.bench("foreign.onnx", "photos"), "Give classes and preprocess, or no photographs"),
        (lambda: kdtool.quantize("student.onnx", "photos", out="student.onnx"), "Name another file: out=…"),
        (lambda: export(tolerance=1e-30), "tolerance=…"),
        (lambda: kdtool.run("photos", out="photos/run"), r'such as out=".*photos-run"'),
        (lambda: run(student__loss__temperature=-1), 'set={"student.loss.temperature": 2}'),
        (lambda: run(student__loss__name="fitnet"), 'set={"student.features.name": "fitnet"}'),
        (lambda: run(student__compile=True, student__features__name="fitnet"), '"student.compile": False'),
        (lambda: run(quantize__search=True, quantize__calibration="mse"), '"quantize.search": False'),
        (lambda: kdtool.create_loss("dkd", beta=-1.0), "Example: beta="),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("folder")
def test_messages_in_python_contain_no_options(call: Callable[[], object], spelling: str) -> None:
    with pytest.raises(KdtoolError) as error:
        call()
    assert re.search(spelling, str(error.value))
    assert not re.search(r"(^|[ (])--[a-z]", str(error.value))


@pytest.mark.usefixtures("folder")
def test_open_data_names_the_function_that_skips_bad_photographs() -> None:
    with pytest.raises(KdtoolError) as error:
        kdtool.open_data("bad")
    assert error.value.hint.endswith('cannot be read: kdtool.run(set={"data.skip_bad": True})')


@pytest.mark.parametrize(
    ("words", "spelling"),
    [
        ("run --recipe foo", "--recipe foo: neither"),
        ("run nope", "DATA nope: there is no such folder"),
        ("bench student.onnx --judge abacus", "Name one of them: --judge NAME"),
        ("bench student.onnx --against abacus", "Name one of them: --against NAME"),
        ("bench foreign.onnx --data photos", "Give --like FILE, or no photographs"),
        ("quantize student.onnx --data photos --out student.onnx", "Name another file: --out …"),
        ("quantize student.onnx --data nope", "DATA nope: there is no such folder"),
        ("run photos --out photos/run", "such as --out /"),
        ("run photos --recipe digits --set student.loss.temperature=-1", "--set student.loss.temperature=2"),
        ("run photos --recipe digits --set student.loss.name=fitnet", "--set student.features.name=fitnet"),
        ("run bad --recipe digits", "--skip-bad"),
        ("run --set quantize.search=true --set quantize.calibration=mse", "--set quantize.search=false"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("folder")
def test_messages_of_the_command_line_contain_options(
    capsys: pytest.CaptureFixture[str], words: str, spelling: str
) -> None:
    with pytest.raises(SystemExit):
        main(words.split())
    assert spelling in " ".join(capsys.readouterr().err.split())


def test_the_outermost_caller_decides() -> None:
    values = {
        "out": "DIR",
        "baseline": True,
        "export.opset": 20,
        "data.skip_bad": True,
        "export.ort": ...,
    }
    options = "--out DIR --baseline --set export.opset=20 --skip-bad --set export.ort=…"
    assert assigned(values) == options
    with called_from(Caller.RUN), called_from(Caller.FUNCTION):
        fields = 'set={"export.opset": 20, "data.skip_bad": True, "export.ort": …}'
        assert assigned(values) == f'out="DIR", baseline=True, {fields}'
    with called_from(Caller.COMMAND_LINE), called_from(Caller.FUNCTION):
        assert assigned(values) == options
    assert assigned(values) == options
