"""kdtool verify: whole bundles, changed files, other pixels, other logits."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from fixtures.commands import kdtool
from kdtool.bundle.packing import SUMS
from kdtool.bundle.proof.verify import verify
from kdtool.core.errors import ModelFileError
from kdtool.core.files import sha256_file
from kdtool.core.screen import QUIET
from kdtool.runs.folder import RunFolder


def seal_again(bundle: Path, name: str) -> None:
    """Make the checksum of a changed file right, so that what it says is looked at."""
    path = bundle / SUMS
    lines = [line for line in path.read_text().splitlines() if not line.endswith(f"  {name}")]
    path.write_text("\n".join([*lines, f"{sha256_file(bundle / name)}  {name}"]) + "\n")


def test_verify_says_what_it_found(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert kdtool("verify", run.path / "bundle", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["images"] == 9
    assert found["pixels"] == 0
    assert max(found["logits"].values()) < 1e-4


@pytest.mark.parametrize(
    "name", ["model.int8.onnx", "golden/photo-1.png", "web/app.js", "hub/onnx/model.onnx"]
)
def test_a_changed_file_is_found(run: RunFolder, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = run.path / "bundle" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()  # it may have a second name
    path.write_bytes(content)
    assert kdtool("verify", run.path / "bundle") == 4
    assert name.split("/")[-1] in capsys.readouterr().err


def test_a_missing_file_is_found(run: RunFolder) -> None:
    (run.path / "bundle" / "labels.txt").unlink()
    with pytest.raises(ModelFileError, match=r"labels\.txt: missing"):
        verify(run.path / "bundle", QUIET)


def test_a_folder_that_is_no_bundle_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert kdtool("verify", tmp_path) == 4
    assert "is not a bundle" in capsys.readouterr().err


def test_checksums_that_leave_the_folder_are_refused(run: RunFolder) -> None:
    bundle = run.path / "bundle"
    (bundle / SUMS).write_text(f"{'0' * 64}  ../run.json\n")
    with pytest.raises(ModelFileError, match="not a list of checksums"):
        verify(bundle, QUIET)


def test_other_preprocessing_is_a_failed_gate_that_names_the_pixel(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = run.path / "bundle"
    path = bundle / "golden" / "drawn-stripes.npy"
    pixels = np.load(path)
    pixels[3, 5, 1] += 2
    path.unlink()
    np.save(path, pixels)
    seal_again(bundle, "golden/drawn-stripes.npy")
    shutil.rmtree(bundle / "web")
    assert kdtool("verify", bundle) == 6
    assert "row 3, column 5, green" in capsys.readouterr().err


@pytest.mark.parametrize("file", ["model.onnx", "model.int8.onnx", "model.uint8.onnx", "model.ort"])
def test_other_logits_are_a_failed_gate_that_names_the_number(
    run: RunFolder, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = run.path / "bundle"
    path = bundle / "golden" / "golden.json"
    golden = json.loads(path.read_text())
    golden["vectors"][2]["logits"][file][1] += 3
    path.write_text(json.dumps(golden))
    seal_again(bundle, "golden/golden.json")
    assert kdtool("verify", bundle) == 6
    said = capsys.readouterr().err
    assert f"{file} on photo-3.png: logits differ, first at index 1" in said
    assert "Traceback" not in said


def test_a_broken_list_of_images_is_a_broken_bundle(run: RunFolder) -> None:
    bundle = run.path / "bundle"
    (bundle / "golden" / "golden.json").write_text('{"schema": 1}')
    seal_again(bundle, "golden/golden.json")
    with pytest.raises(ModelFileError, match=r"golden\.json: cannot be read"):
        verify(bundle, QUIET)
