"""What `kdtool quantize` is asked for is recorded in the run, and can be taken back."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdtool import pipeline
from kdtool.cli import main
from kdtool.recipe.files import load_recipe
from kdtool.recipe.settings import QuantizeSettings
from kdtool.runs.folder import RunFolder


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run whose INT8 was searched for and fine-tuned; nothing is quantized here."""
    recipe = load_recipe("paper", ["quantize.search=true", "quantize.finetune=2"]).to_json()
    run = RunFolder(tmp_path)
    run.write_record({"recipe": recipe, "seed": 0, "source": "/photographs", "classes": ["cat", "dog"]})
    monkeypatch.setattr(pipeline, "open_data", lambda _: None)
    monkeypatch.setattr(pipeline, "quantize", lambda *_: None)
    return run


def quantize(run: RunFolder, *options: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(["quantize", str(run.path), *options])
    return int(stop.value.code or 0)


def recorded(run: RunFolder) -> QuantizeSettings:
    return QuantizeSettings.model_validate(run.read_record()["recipe"]["quantize"])


def test_what_was_asked_for_before_holds_until_it_is_taken_back(run: RunFolder) -> None:
    assert quantize(run) == 0
    assert (recorded(run).search, recorded(run).finetune) == (True, 2)
    assert quantize(run, "--no-search", "--calibration", "mse") == 0
    assert (recorded(run).search, recorded(run).calibration) == (False, "mse")
    assert quantize(run, "--finetune", "0") == 0
    assert (recorded(run).search, recorded(run).finetune) == (False, 0)
    assert quantize(run, "--calibration", "minmax", "--search") == 0
    assert recorded(run).search is True


def test_a_calibration_after_a_search_says_what_to_type(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert quantize(run, "--calibration", "mse") == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "calibration mse would be ignored: leave it at minmax, or do not search" in said
    assert "Next: Without a search: --set quantize.search=false" in said
    assert recorded(run).calibration == "minmax"
