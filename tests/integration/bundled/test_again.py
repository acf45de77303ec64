"""kdtool bundle once more, with other options, and on runs that lack something or are broken."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from fixtures.bundles import REMOTE
from fixtures.commands import kdtool
from fixtures.screens import Recorder
from kdtool.bundle.options import Options
from kdtool.bundle.proof.golden import read_golden
from kdtool.bundle.stage import write_bundle
from kdtool.core.errors import GateError, UsageError
from kdtool.core.screen import QUIET
from kdtool.runs.folder import RunFolder


def test_a_complete_bundle_is_skipped_and_a_damaged_one_made_again(run: RunFolder) -> None:
    listener = Recorder()
    folder = write_bundle(run, Options(), REMOTE, QUIET)
    write_bundle(run, Options(), REMOTE, listener)
    assert listener.said == ["bundle: complete, skipped"]  # and it lacks no kind of model
    whole = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(whole[:-1])
    archive = (run.path / "bundle.zip").read_bytes()
    write_bundle(run, Options(), REMOTE, QUIET)
    assert (folder / "model.onnx").read_bytes() == whole
    assert (run.path / "bundle.zip").read_bytes() == archive  # the same bytes for the same run
    assert not list(run.path.glob("*.partial"))


def test_other_options_make_another_bundle(run: RunFolder) -> None:
    write_bundle(run, Options(), REMOTE, QUIET)
    folder = write_bundle(run, Options(license="CC-BY-4.0", data_license="private"), REMOTE, QUIET)
    assert "- **Model**: CC-BY-4.0" in (folder / "MODEL_CARD.md").read_text()
    assert "- **Training data**: private" in (folder / "MODEL_CARD.md").read_text()
    assert "\nlicense: cc-by-4.0\n" in (folder / "hub" / "README.md").read_text()


def test_a_folder_of_something_else_is_left_alone(run: RunFolder) -> None:
    shutil.rmtree(run.path / "bundle")
    (run.path / "bundle").mkdir()
    (run.path / "bundle" / "thesis.tex").write_text("mine")
    with pytest.raises(UsageError, match="something else than a bundle"):
        write_bundle(run, Options(), REMOTE, QUIET)
    assert (run.path / "bundle" / "thesis.tex").read_text() == "mine"


def test_a_run_without_exports_says_what_is_missing(run: RunFolder) -> None:
    with pytest.raises(UsageError, match="has no exported teacher"):
        write_bundle(run, Options(role="teacher"), REMOTE, QUIET)
    assert kdtool("bundle", run.path, "--role", "pupil") == 2


def test_a_repacked_int8_model_has_the_limit_of_int8(run: RunFolder) -> None:
    shutil.copy(run.onnx_model("student", "int8"), run.onnx / "student.uint8.onnx")
    tolerance = read_golden(write_bundle(run, Options(), REMOTE, QUIET)).logit_tolerance
    assert tolerance["model.uint8.onnx"] == tolerance["model.int8.onnx"] > tolerance["model.ort"]


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        (("int8.onnx",), "made without model.int8.onnx; to add: kdtool quantize {run}, kdtool bundle {run}"),
        (
            ("uint8.onnx", "ort"),
            "made without model.uint8.onnx, model.ort; to add: kdtool export --onnx --uint8 --ort {run}, "
            "kdtool quantize {run}, kdtool bundle {run}",
        ),
    ],
)
def test_what_a_bundle_lacks_is_said_with_the_commands_that_add_it(
    run: RunFolder, gone: tuple[str, ...], said: str
) -> None:
    for suffix in gone:
        (run.onnx / f"student.{suffix}").unlink()
    for _ in ("made", "skipped"):
        listener = Recorder()
        write_bundle(run, Options(), REMOTE, listener)
        assert listener.said[-1] == f"bundle: {said.format(run=run.path)}"


def test_an_app_takes_one_of_the_models_and_their_sizes_are_said(run: RunFolder) -> None:
    listener = Recorder()
    write_bundle(run, Options(), REMOTE, listener)
    size = (run.path / "bundle.zip").stat().st_size / 1e6
    said = f"bundle: {run.path / 'bundle'}, bundle.zip {size:.1f} MB; an app needs one of 4 model file(s)"
    assert listener.said[0].startswith(said)


def test_an_8_bit_model_that_is_another_network_is_not_shipped(
    run: RunFolder, make_bundle_run: Callable[..., RunFolder]
) -> None:
    path = run.onnx / "student.uint8.onnx"
    model = onnx.load(path)
    (scale,) = [one for one in model.graph.initializer if one.name == "scale"]
    scale.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(scale) * 1.5, "scale"))
    onnx.save(model, path)
    with pytest.raises(GateError, match=r"model\.uint8\.onnx and model\.onnx compute different logits"):
        write_bundle(run, Options(), REMOTE, QUIET)


def test_a_model_whose_logits_are_no_numbers_is_not_shipped(run: RunFolder) -> None:
    path = run.onnx_model("student")
    model = onnx.load(path)
    (matrix,) = [one for one in model.graph.initializer if one.name == "matrix"]
    values = numpy_helper.to_array(matrix).copy()
    values[0, 0] = np.nan
    matrix.CopyFrom(numpy_helper.from_array(values, "matrix"))
    onnx.save(model, path)
    with pytest.raises(GateError, match=r"model\.onnx: gives NaN or infinity for photo-1\.png"):
        write_bundle(run, Options(), REMOTE, QUIET)
    assert not list(run.path.glob("*.partial"))
