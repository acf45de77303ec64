"""A run with every model, and a copy of it for each test."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fixtures.runs.onnxmodels import BLIND, COSTS, SETTINGS, SIDE, classifier, photographs
from kdtool.benchmark.stage import MODELS
from kdtool.core.modelinfo import ModelInfo
from kdtool.core.screen import QUIET
from kdtool.data.prepare import prepare
from kdtool.data.reader import Prepared
from kdtool.recipe.settings import DataSettings, Recipe
from kdtool.runs.folder import RunFolder


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run with every model; data of 30 test images."""
    source = photographs(tmp_path_factory.mktemp("source"), {"train": 3, "validation": 2, "test": 10})
    run = RunFolder(tmp_path_factory.mktemp("template") / "run")
    prepared, _ = prepare(str(source), DataSettings(size=SIDE), 0, run.data, QUIET)
    run.onnx.mkdir()
    for name, (role, precision) in MODELS.items():
        if role not in COSTS:
            continue  # a run has a linear probe only if its student starts from weights
        params, macs = COSTS[role]
        info = ModelInfo(
            role, "tiny", prepared.classes, prepared.preprocess, precision, params=params, macs=macs
        )
        weight = BLIND if name == "baseline" else None
        run.onnx_model(role, precision).write_bytes(classifier(info, weight))
    recipe = Recipe(name="tiny", bench=SETTINGS).to_json()
    run.write_record({"recipe": recipe, "seed": 0, "source": str(source), "classes": list(prepared.classes)})
    return run


@pytest.fixture
def run(template: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(template.path, tmp_path / "artifacts" / "run")
    return RunFolder(Path("artifacts/run"))


@pytest.fixture
def prepared(run: RunFolder) -> Prepared:
    from kdtool.data.reader import open_prepared

    return open_prepared(run.data)
