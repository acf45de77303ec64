"""Which ONNX files of a run may be taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdtool.runs.folder import RunFolder
from kdtool.runs.models import present_models, sealed_models
from kdtool.runs.stage import Stage

EVERY = (("teacher", "fp32"), ("student", "fp32"), ("teacher", "int8"))


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path)
    run.onnx.mkdir()
    for role, precision in EVERY:
        run.onnx_model(role, precision).write_text(f"{role} {precision}")
    return run


def seal(run: RunFolder, role: str, precision: str) -> None:
    path = run.export_manifest(role) if precision == "fp32" else run.quantize_manifest(role)
    name = "export" if precision == "fp32" else "quantize"
    Stage(name, run.onnx, {}, path.name).seal([run.onnx_model(role, precision).name], {}, {})


def test_files_copied_by_hand_are_all_taken(run: RunFolder) -> None:
    assert sealed_models(run) == present_models(run) == EVERY


def test_where_there_are_manifests_a_file_without_one_is_left_out(run: RunFolder) -> None:
    seal(run, "teacher", "fp32")
    seal(run, "teacher", "int8")
    assert sealed_models(run) == (("teacher", "fp32"), ("teacher", "int8"))


@pytest.mark.parametrize("model", EVERY)
def test_a_file_that_its_manifest_disagrees_with_is_left_out(run: RunFolder, model: tuple[str, str]) -> None:
    for each in EVERY:
        seal(run, *each)
    run.onnx_model(*model).write_text("torn")
    assert sealed_models(run) == tuple(each for each in EVERY if each != model)
    assert present_models(run) == EVERY


def test_a_manifest_that_cannot_be_read_vouches_for_nothing(run: RunFolder) -> None:
    run.export_manifest("student").write_text("{}")
    assert sealed_models(run) == ()


def test_a_run_without_models_has_none(tmp_path: Path) -> None:
    assert sealed_models(RunFolder(tmp_path)) == present_models(RunFolder(tmp_path)) == ()
