"""A run that is trained and exported, a copy of it, and one not yet exported."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest

from fixtures.runs.networks import EXPORT, head_of, prepare, train
from fixtures.screens import Recorder
from kdtool.arch.network import load_network
from kdtool.data.reader import Prepared
from kdtool.exporters.stage import export_models
from kdtool.runs.folder import RunFolder


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunFolder, Prepared, Recorder]]:
    """A run after `kdtool export --onnx`; tests that change it take a copy."""
    run = RunFolder(tmp_path_factory.mktemp("run"))
    prepared = prepare(run.data)
    train(run, "teacher", 0)
    train(run, "student", 1)
    ear = Recorder()
    export_models(run, prepared, EXPORT, ear)
    yield run, prepared, ear


@pytest.fixture
def copy(exported: tuple[RunFolder, Prepared, Recorder], tmp_path: Path) -> tuple[RunFolder, Prepared]:
    run, prepared, _ = exported
    shutil.copytree(run.path, tmp_path / "run")
    return RunFolder(tmp_path / "run"), prepared


@pytest.fixture
def unexported(
    copy: tuple[RunFolder, Prepared], monkeypatch: pytest.MonkeyPatch
) -> tuple[RunFolder, Prepared]:
    """As `copy`, before export; exporter and onnxsim answer what they answered before, to save seconds."""
    run, prepared = copy
    answers = {
        head_of(load_network(run.weights(role))[0]): run.onnx_model(role).read_bytes()
        for role in ("teacher", "student")
    }
    shutil.rmtree(run.onnx)
    monkeypatch.setattr(
        "kdtool.exporters.model.export_network",
        lambda network, *_: onnx.load_model_from_string(answers[head_of(network)]),
    )
    monkeypatch.setattr("kdtool.exporters.model.simplify", lambda payload, _: payload)
    return run, prepared
