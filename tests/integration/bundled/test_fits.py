"""Which file a kind of app takes, and where none fits."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures.bundles import REMOTE
from fixtures.commands import kdtool
from fixtures.screens import Recorder
from kdtool.bundle.options import Options
from kdtool.bundle.stage import write_bundle
from kdtool.bundle.targets import TARGETS
from kdtool.core.errors import GateError
from kdtool.core.screen import QUIET
from kdtool.runs.folder import RunFolder


def test_a_target_that_nothing_fits_fails_when_asked_for_and_warns_when_not(
    make_bundle_run: Callable[..., RunFolder],
) -> None:
    run = make_bundle_run(opset=21)
    with pytest.raises(GateError, match="No model file fits the target web") as caught:
        write_bundle(run, Options(targets=("web",)), REMOTE, QUIET)
    assert "opset 21, the target loads up to 20" in caught.value.message
    assert not (run.path / "bundle").exists()
    listener = Recorder()
    folder = write_bundle(run, Options(), REMOTE, listener)
    assert any("No model file fits the target web" in said for said in listener.warned)
    assert re.search(r"\| web \|.*\| none of these \|.*opset 21", (folder / "README.md").read_text())


def section(readme: str, title: str) -> str:
    return readme.split(f"\n## {title}", 1)[1].split("\n## ", 1)[0]


def test_a_section_says_where_its_snippet_is_not_for_the_file_to_take(
    bundled: Path, make_bundle_run: Callable[..., RunFolder]
) -> None:
    command = "`kdtool export --onnx --compat`"
    run = make_bundle_run(opset=21)
    run.onnx_model("student", "int8").unlink()
    readme = (write_bundle(run, Options(), REMOTE, QUIET) / "README.md").read_text()
    assert f"onnxruntime-web 1.17 does not load `model.onnx`.** Make a file that it loads with {command}" in (
        section(readme, "Web")
    )
    assert command not in section(readme, "Android")
    assert re.search(r"\| android \|.*\| `model\.uint8\.onnx` \|", readme)
    assert "The snippet feeds `model.onnx`. The file to take, `model.uint8.onnx`, needs other code." in (
        section(readme, "Android")
    )
    usual = (bundled / "README.md").read_text()
    assert command not in usual
    assert "The snippet feeds" not in usual


def test_each_target_takes_what_it_runs_well(bundled: Path) -> None:
    readme = (bundled / "README.md").read_text()
    taken = dict(re.findall(r"^\| ([a-z-]+) \| .*? \| `(model[^`]*)` \|", readme, re.MULTILINE))
    assert set(taken) == set(TARGETS)
    assert taken["ios"] == taken["web"] == "model.onnx"
    assert taken["android"] == "model.int8.onnx"


def test_an_unknown_target_is_named(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert kdtool("bundle", run.path, "--target", "toaster") == 2
    assert "allowed: android, ios" in capsys.readouterr().err
