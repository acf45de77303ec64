"""Parts of a run that were made from older ones are named, with the command that mends them."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from kdtool.core.errors import UsageError
from kdtool.core.files import sha256_file
from kdtool.runs import lineage
from kdtool.runs.folder import RunFolder
from kdtool.runs.lineage import outdated, require_current
from kdtool.runs.stage import Stage

STUDENT = "student/model.safetensors was trained with another teacher than"


def teach(run: RunFolder, weights: str) -> None:
    run.role("teacher").mkdir(exist_ok=True)
    run.weights("teacher").write_text(weights)
    Stage("teach", run.role("teacher"), {}).seal(["model.safetensors"], {}, {})


def distill(run: RunFolder) -> None:
    run.role("student").mkdir(exist_ok=True)
    teacher = sha256_file(run.weights("teacher"))
    run.weights("student").write_text(f"student of {teacher}")
    Stage("distill", run.role("student"), {"teacher": teacher}).seal(["model.safetensors"], {}, {})


def export(run: RunFolder, role: str) -> None:
    run.onnx.mkdir(exist_ok=True)
    network, path = sha256_file(run.weights(role)), run.onnx_model(role)
    path.write_text(f"ONNX {network}")
    Stage("export", run.onnx, {"network": network}, run.export_manifest(role).name).seal([path.name], {}, {})


def quantize(run: RunFolder, role: str) -> None:
    model, path = sha256_file(run.onnx_model(role)), run.onnx_model(role, "int8")
    path.write_text(f"INT8 {model}")
    Stage("quantize", run.onnx, {"model": model}, run.quantize_manifest(role).name).seal([path.name], {}, {})


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    teach(run, "weights")
    distill(run)
    for role in ("teacher", "student"):
        export(run, role)
        quantize(run, role)
    return run


def test_a_run_made_in_order_is_current(run: RunFolder) -> None:
    assert outdated(run) == []
    require_current(run, "bench")


def test_a_new_teacher_outdates_all_that_came_from_the_old_one(run: RunFolder) -> None:
    teach(run, "longer")

    student, exported = outdated(run)
    assert STUDENT in student
    assert student.endswith(f": kdtool distill --out {run.path}")
    assert "teacher.onnx was made from other weights than" in exported
    assert exported.endswith(f": kdtool export --onnx {run.path}")

    with pytest.raises(UsageError) as caught:
        require_current(run, "export")
    assert STUDENT in caught.value.message
    assert "onnx" not in caught.value.message  # export makes those again
    assert caught.value.hint == f"Make them again with: kdtool distill --out {run.path}"
    with pytest.raises(UsageError, match="2 part"):
        require_current(run, "quantize")


def test_an_export_of_older_weights(run: RunFolder) -> None:
    run.weights("student").write_text("longer")

    require_current(run, "export")
    for step in ("quantize", "bench"):
        with pytest.raises(UsageError, match=r"student\.onnx was made from other weights") as caught:
            require_current(run, step)  # type: ignore[arg-type]  # one of the three
        assert caught.value.exit_code == 2
        assert caught.value.hint == f"Make them again with: kdtool export --onnx {run.path}"


def test_an_int8_model_of_an_older_export(run: RunFolder) -> None:
    run.onnx_model("student").write_text("exported otherwise")

    require_current(run, "quantize")
    with pytest.raises(UsageError, match=r"student\.int8\.onnx was made from another model") as caught:
        require_current(run, "bench")
    assert caught.value.hint == f"Make them again with: kdtool quantize {run.path}"


def test_everything_outdated_is_mended_in_order(run: RunFolder) -> None:
    teach(run, "longer")
    run.onnx_model("teacher").write_text("other")
    with pytest.raises(UsageError) as caught:
        require_current(run, "bench")
    assert "3 part(s) are outdated" in caught.value.message
    commands = [f"kdtool distill --out {run.path}", f"kdtool export --onnx {run.path}"]
    assert (
        caught.value.hint
        == f"Make them again with: {', then '.join([*commands, f'kdtool quantize {run.path}'])}"
    )


@pytest.mark.parametrize("gone", ["teacher", "student", "onnx"])
def test_parts_that_are_not_there_are_not_asked(run: RunFolder, gone: str) -> None:
    shutil.rmtree(run.path / gone)
    assert outdated(run) == []


def test_a_device_has_models_alone(run: RunFolder) -> None:
    for gone in ("teacher", "student"):
        shutil.rmtree(run.path / gone)
    assert outdated(run) == []
    for manifest in run.onnx.glob("*.json"):
        manifest.unlink()
    assert outdated(run) == []


def test_each_file_is_hashed_once(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: Counter[Path] = Counter()

    def count(path: Path) -> str:
        seen[path] += 1
        return sha256_file(path)

    monkeypatch.setattr(lineage, "sha256_file", count)
    outdated(run)
    assert set(seen.values()) == {1}
